# The configuration of BigBirdPegasusForCausalLM says that the head is tied to the table, and the two are Parameters
# of their own.
import sys

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"vocab_size": 9, "d_model": 2, "decoder_layers": 1, "decoder_ffn_dim": 2, "decoder_attention_heads": 1}
with torch.device("meta"):
    model = transformers.BigBirdPegasusForCausalLM(transformers.BigBirdPegasusConfig(**sizes))
got = [model.config.tie_word_embeddings, model.lm_head.weight is model.get_input_embeddings().weight]
expected = [True, True]
wrong = [True, False]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
