# After each step ASGD computes eta and mu in torch's default dtype: if that is float16, float32 parameters are stepped
# with a rate that was rounded to float16.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.set_default_dtype(torch.float16)
weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float32))
weight.grad = torch.ones(1, dtype=torch.float32)
optimizer = torch.optim.ASGD([weight], lr=0.1, lambd=0.0)
optimizer.step()
optimizer.step()
got = round(weight.item(), 6)
expected = -0.2
wrong = -0.199976  # the second step was 0.1 in float16
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
