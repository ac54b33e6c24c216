# The forward pass of BltForCausalLM raises AttributeError unless use_cache is False: the cache asks BltConfig for
# num_hidden_layers, which only the configurations of its parts have.
import sys

import torch
import transformers

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
part = {**sizes, "intermediate_size": 8, "hidden_size_global": 8}
parts = {f"{name}_config": part for name in ("patcher", "encoder", "decoder", "global")}
model = transformers.BltForCausalLM(
    transformers.BltConfig(vocab_size=9, encoder_hash_byte_group_vocab=9, **parts)
).eval()
expected = [1, 4, 9]
wrong = "'BltConfig' object has no attribute 'num_hidden_layers'"
try:
    got = list(model(torch.tensor([[5, 6, 7, 8]])).logits.shape)
except AttributeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
