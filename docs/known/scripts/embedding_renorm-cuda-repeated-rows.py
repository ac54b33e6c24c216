# On CUDA max_norm scales a row that occurs in several sequences of a batch several times: tokens are sorted within
# each sequence alone before repeated ones are dropped. It shows only if threads meet: a right result proves nothing.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

tokens = torch.zeros(4096, 1, dtype=torch.int64, device="cuda")
for _ in range(100):
    weight = torch.full((1, 1), 8.0, device="cuda")
    torch.nn.functional.embedding(tokens, weight, max_norm=1.0)
    got = "1" if abs(weight.item() - 1) < 1e-5 else "less" if 0 <= weight.item() < 1 else str(weight.item())
    if got != "1":
        break
expected = "1"
wrong = "less"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
