# The sparse gradient of a bag of padding tokens alone does not depend on the upstream gradient, so it can't be differentiated.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.ones(1, 1, requires_grad=True)
upstream = torch.ones(1, 1, requires_grad=True)
bags = torch.nn.functional.embedding_bag(torch.tensor([[0]]), table, mode="sum", sparse=True, padding_idx=0)
(gradient,) = torch.autograd.grad(bags, table, upstream, create_graph=True)
got = gradient.requires_grad
expected = True
wrong = False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
