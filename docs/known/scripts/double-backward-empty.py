# The double backward of an embedding raises for a lookup of no tokens: it reshapes to (*indices.shape, -1), which is
# ambiguous.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(2, 1)
loss = table(torch.tensor([], dtype=torch.int64)).pow(2).sum()
(grad,) = torch.autograd.grad(loss, table.weight, create_graph=True)
try:
    grad.pow(2).sum().backward()  # a gradient penalty
    got = table.weight.grad.tolist()
except RuntimeError as error:
    got = str(error).partition(" because")[0]
expected = [[0.0], [0.0]]
wrong = "cannot reshape tensor of 0 elements into shape [0, -1]"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
