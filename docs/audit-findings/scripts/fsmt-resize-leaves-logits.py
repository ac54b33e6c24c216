# resize_token_embeddings(12) leaves the logits of FSMT at 9 tokens, as it left those of Inkling2 before 5.24.0: new tokens
# are never predicted.
import sys

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 4, "decoder_ffn_dim": 4, "d_model": 4}
tables = {"encoder_attention_heads": 1, "decoder_attention_heads": 1, "src_vocab_size": 9, "tgt_vocab_size": 9}
fsmt = transformers.FSMTForConditionalGeneration(transformers.FSMTConfig(langs=["en", "de"], **layers, **tables)).eval()
fsmt.resize_token_embeddings(12)
ids = torch.tensor([[5, 6]])
got = fsmt(ids, decoder_input_ids=ids).logits.shape[-1]
expected = 12
wrong = 9
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
