# With scale_grad_by_freq the gradient of an embedding is divided by the counts of the tokens, but its own derivative is
# not.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(1, 1, scale_grad_by_freq=True)
upstream = torch.ones(2, 1, requires_grad=True)
out = table(torch.tensor([0, 0]))
(grad,) = torch.autograd.grad(out, table.weight, upstream, create_graph=True)
grad.sum().backward()  # grad is (upstream[0] + upstream[1]) / 2
got = upstream.grad.flatten().tolist()
expected = [0.5, 0.5]
wrong = [1.0, 1.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
