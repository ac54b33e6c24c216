# A fused step does not increment the version of its parameters: backward through a graph that saved a parameter before
# the step uses its new value, where the other implementations make it raise an error.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.tensor([3.0]))
loss = weight.square().sum()
weight.grad = torch.tensor([2.0])
torch.optim.SGD([weight], lr=1.0, fused=True).step()  # 3 - 2 = 1
try:
    got = torch.autograd.grad(loss, weight)[0].item()
except RuntimeError as error:
    got = str(error).split(":")[0]
expected = "one of the variables needed for gradient computation has been modified by an inplace operation"
wrong = 2.0  # at the new value; it was 6.0 at the old one
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
