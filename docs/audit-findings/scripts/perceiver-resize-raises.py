# resize_token_embeddings of Perceiver raises AttributeError: get_input_embeddings gives the latents, which are a
# Parameter and no table.
import sys

import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"vocab_size": 9, "d_model": 8, "max_position_embeddings": 8, "num_latents": 2, "d_latents": 8}
heads = {"num_self_attention_heads": 1, "num_cross_attention_heads": 1, "num_self_attends_per_block": 1}
model = transformers.PerceiverForMaskedLM(transformers.PerceiverConfig(**sizes, **heads, qk_channels=8, v_channels=8))
expected = 12
wrong = "'Parameter' object has no attribute 'weight'"
try:
    got = len(model.resize_token_embeddings(12).weight)
except AttributeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
