# On the device meta F.linear takes an input and a weight of different dtypes, which is a RuntimeError elsewhere.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(2, 3, bias=False, dtype=torch.float64, device="meta")
try:
    got = layer(torch.ones(1, 2, device="meta")).dtype
except RuntimeError:
    got = "RuntimeError"
expected = "RuntimeError"
wrong = torch.float32
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
