# SGD(foreach=True, nesterov=True) adds the momentum to p.grad in place, onto which the next backward accumulates.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

p = torch.nn.Parameter(torch.ones(1))
p.grad = torch.ones(1)
torch.optim.SGD([p], momentum=0.5, nesterov=True, foreach=True).step()
got = p.grad.item()
expected = 1.0
wrong = 1.5
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
