# With sparse=True and a padding_idx, backward of nn.Embedding raises for an index without axes.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(2, 2, padding_idx=0, sparse=True)
try:
    table(torch.tensor(1)).sum().backward()
    got = table.weight.grad.to_dense().tolist()
except IndexError as error:
    got = str(error)
expected = [[0.0, 0.0], [1.0, 1.0]]
wrong = "too many indices for tensor of dimension 0 (got 1)"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
