# nn.Embedding(sparse=True) has no backward pass for a jagged nested tensor: it takes a view of the nested indices that
# is refused.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

tokens = torch.nested.nested_tensor([torch.tensor([0, 1]), torch.tensor([2])], layout=torch.jagged)
table = torch.nn.Embedding(3, 1, sparse=True)
found = table(tokens)
expected = [[1.0], [1.0], [1.0]]
wrong = "view(): cannot view shape (2, "
try:
    found.values().sum().backward()
    got = table.weight.grad.to_dense().tolist()
except RuntimeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
