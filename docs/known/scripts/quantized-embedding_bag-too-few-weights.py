# The quantized EmbeddingBag does not compare the number of per_sample_weights with that of the tokens, and reads beyond
# the weights.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.quantize_per_channel(torch.ones(1, 1), torch.ones(1), torch.zeros(1), 0, torch.quint8)
bag = torch.ao.nn.quantized.EmbeddingBag(1, 1, _weight=table)
weights = torch.tensor([1.0, 10.0, 100.0])[:2]  # 100 lies behind the two weights
try:
    got = bag(torch.tensor([0, 0, 0]), torch.tensor([0]), weights).item()
except (RuntimeError, ValueError):
    got = "error"
expected = "error"
wrong = 111.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
