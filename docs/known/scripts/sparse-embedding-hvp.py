# torch.autograd.functional.hvp of a function that calls F.embedding(sparse=True) gives zero, without an error.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other


def loss(weight):
    return torch.nn.functional.embedding(torch.tensor([0]), weight, sparse=True).square().sum()


got = torch.autograd.functional.hvp(loss, torch.ones(1, 1), v=torch.ones(1, 1))[1].item()
expected = 2.0  # the second derivative of the square
wrong = 0.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
