# The sparse gradient of a batch that holds no token but padding has no graph under create_graph=True: it is made anew.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(2, 1, padding_idx=0, sparse=True)
loss = table(torch.tensor([0])).pow(2).sum()
(grad,) = torch.autograd.grad(loss, table.weight, create_graph=True)
got = grad.requires_grad
expected = True  # as with the token 1, and with sparse=False
wrong = False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
