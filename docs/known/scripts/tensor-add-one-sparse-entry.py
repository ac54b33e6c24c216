# Adding a sparse tensor of one entry to a dense one takes the stride of its values for the length of a row: with the
# expanded gradient of sum(), whose strides are 0, nothing is added, and to_dense() and SGD lose the gradient.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(3, 1, sparse=True)
table(torch.tensor([1])).sum().backward()
got = table.weight.grad.to_dense().flatten().tolist()
expected = [0.0, 1.0, 0.0]
wrong = [0.0, 0.0, 0.0]  # nothing was added
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
