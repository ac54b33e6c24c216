# torch.vmap over tables and indices lays the tables end to end, but padding_idx stays that of the first: the padding
# row of every other table gets a gradient.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

tables = torch.ones(2, 3, 1, requires_grad=True)
tokens = torch.tensor([[0, 1], [0, 1]])
look = torch.vmap(lambda row, table: torch.nn.functional.embedding(row, table, padding_idx=0))
look(tokens, tables).sum().backward()
got = tables.grad.flatten(1).tolist()
expected = [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
wrong = [[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
