# step() of SGD(fused=True, momentum=...) raises if a parameter gets its first gradient after another one.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weights = [torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))]
optimizer = torch.optim.SGD(weights, lr=1.0, momentum=0.5, fused=True)
try:
    for weight in weights:
        weight.grad = torch.ones(1)
        optimizer.step()
    got = [weight.item() for weight in weights]
except TypeError as error:
    got = str(error)
expected, wrong = [-1.5, 0.0], "expected Tensor as element 1 in argument 2, but got NoneType"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
