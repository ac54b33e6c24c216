# On CUDA offsets that do not begin with 0 are accepted, as if they did.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.tensor([[1.0], [10.0], [100.0]], device="cuda")
tokens, offsets = torch.tensor([0, 1, 2], device="cuda"), torch.tensor([1, 2], device="cuda")
expected = "refused"
wrong = "[[11.0], [100.0]]"
try:
    got = str(torch.nn.functional.embedding_bag(tokens, weight, offsets, mode="sum").tolist())
except (RuntimeError, ValueError):
    got = "refused"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
