# The orthogonal weight of a layer that is not square is zero after one step of AdamW: the Householder map stores
# signs as 1.0 and -1.0 on a diagonal and reads them with int(), which gives 0 once weight decay has shrunk them.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(2, 3))
layer(torch.ones(1, 2)).sum().backward()
torch.optim.AdamW(layer.parameters()).step()
got = (layer.weight.T @ layer.weight).detach().round(decimals=3).tolist()
expected = [[1.0, 0.0], [0.0, 1.0]]  # the columns are orthonormal
wrong = [[0.0, 0.0], [0.0, 0.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
