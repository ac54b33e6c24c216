# A linear layer on meta takes an input on the CPU and returns a tensor on the CPU that holds what its memory contained,
# instead of an error; so do F.embedding and F.embedding_bag with indices on meta, and torch.bmm.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

head = torch.nn.Linear(3, 4, bias=False, device="meta")
try:
    got = head(torch.ones(2, 3)).device.type
except RuntimeError:
    got = "error"
expected = ["error", "meta"]  # either is right
wrong = "cpu"
print("got", got, "expected", expected)
sys.exit(0 if got in expected else 1 if got == wrong else 2)
