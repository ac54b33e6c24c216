# resize_token_embeddings of an untied BART overwrites the rows of the encoder and of the decoder by those of a third
# table, which no forward pass reads.
import sys

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 2, "decoder_ffn_dim": 2}
sizes = {"vocab_size": 9, "d_model": 2, "encoder_attention_heads": 1, "decoder_attention_heads": 1}
model = transformers.BartForConditionalGeneration(
    transformers.BartConfig(**layers, **sizes, tie_word_embeddings=False)
).model
torch.nn.init.constant_(model.shared.weight, 1.0)
torch.nn.init.constant_(model.encoder.embed_tokens.weight, 2.0)
torch.nn.init.constant_(model.decoder.embed_tokens.weight, 3.0)
model.resize_token_embeddings(12)
tables = [model.encoder.embed_tokens, model.decoder.embed_tokens]
got = [[len(table.weight), table.weight[5].tolist()] for table in tables]
expected = [[12, [2.0, 2.0]], [12, [3.0, 3.0]]]
wrong = [[12, [1.0, 1.0]], [12, [1.0, 1.0]]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
