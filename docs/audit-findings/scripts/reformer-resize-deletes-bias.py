# resize_token_embeddings of a Reformer with a language modelling head replaces the head's bias by None.
import sys

import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"vocab_size": 9, "hidden_size": 4, "attention_head_size": 4, "num_attention_heads": 1, "feed_forward_size": 4}
axes = {"attn_layers": ["local"], "axial_pos_shape": [8, 8], "axial_pos_embds_dim": [2, 2]}
model = transformers.ReformerForMaskedLM(transformers.ReformerConfig(**sizes, **axes, is_decoder=False))
model.resize_token_embeddings(12)
got = None if model.lm_head.bias is None else len(model.lm_head.bias)
expected = 12
wrong = None
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
