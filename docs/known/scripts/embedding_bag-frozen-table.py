# per_sample_weights of embedding_bag can't learn if the table is frozen: an internal assertion of autograd fails.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.tensor([[1.0, 2.0]])
weights = torch.ones(1, 1, requires_grad=True)
try:
    bags = torch.nn.functional.embedding_bag(torch.tensor([[0]]), table, mode="sum", per_sample_weights=weights)
    bags.sum().backward()
    got = weights.grad.item()
except RuntimeError as error:
    got = str(error)
expected = 3.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if "INTERNAL ASSERT FAILED" in str(got) else 2)
