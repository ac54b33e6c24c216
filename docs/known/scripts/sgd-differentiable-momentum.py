# SGD(differentiable=True) detaches the gradient of the first step where it makes the momentum buffer: the derivative of
# the weight with respect to that gradient is zero.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.zeros(1)
weight.grad = gradient = torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.5, differentiable=True)
optimizer.step()  # weight = -gradient
optimizer.step()  # weight = -gradient - (0.5 * gradient + gradient)
got = torch.autograd.grad(weight, gradient)[0].item()
expected = -2.5
wrong = -1.0  # of the second step alone
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
