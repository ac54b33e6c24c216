# On CUDA max_norm raises where there is no token: a kernel is launched for no block.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.ones(2, 3, device="cuda")
tokens = torch.zeros(0, dtype=torch.int64, device="cuda")
expected = "(0, 3)"
wrong = "CUDA error: invalid"
try:
    got = str(tuple(torch.nn.functional.embedding(tokens, weight, max_norm=1.0).shape))
except RuntimeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
