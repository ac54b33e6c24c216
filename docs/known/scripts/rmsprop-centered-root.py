# RMSprop(centered=True) takes the root of square_avg - grad_avg**2, which rounding makes negative where the gradient
# hardly varies: the weight becomes NaN.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.zeros(1))
weight.grad = torch.tensor([0.9])
optimizer = torch.optim.RMSprop([weight], alpha=0.5, centered=True)
for _ in range(30):
    optimizer.step()
got = weight.isnan().item()
expected = False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1)
