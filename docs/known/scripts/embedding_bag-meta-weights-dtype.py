# On the device meta nn.EmbeddingBag takes per_sample_weights of another dtype than the table, which every kernel
# refuses.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bag = torch.nn.EmbeddingBag(1, 1, mode="sum", device="meta")
tokens = torch.zeros(1, 2, dtype=torch.int64, device="meta")
try:
    got = bag(tokens, per_sample_weights=torch.ones(1, 2, dtype=torch.float64, device="meta")).dtype
except RuntimeError:
    got = "RuntimeError"
expected = "RuntimeError"
wrong = torch.float32
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
