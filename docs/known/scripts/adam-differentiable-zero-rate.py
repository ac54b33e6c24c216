# Adam(differentiable=True) divides the denominator by the step size: with lr=0 elements whose gradient is zero become
# NaN.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.ones(2)
weight.grad = torch.tensor([0.0, 1.0])
torch.optim.Adam([weight], lr=0.0, differentiable=True).step()
got = str(weight.tolist())
expected = "[1.0, 1.0]"
wrong = "[nan, 1.0]"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
