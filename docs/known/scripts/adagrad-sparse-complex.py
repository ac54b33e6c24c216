# Adagrad steps a complex parameter as two real ones if its gradient is dense, but squares a sparse gradient as complex
# numbers.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.complex64))
weight.grad = torch.tensor([1 + 1j]).to_sparse()
torch.optim.Adagrad([weight], lr=1.0).step()
got = torch.view_as_real(weight).flatten().round(decimals=3).tolist()
expected = [-1.0, -1.0]  # as without to_sparse()
wrong = [-1.0, 0.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
