# fuse_linear_bn_eval raises for a BatchNorm1d(affine=False), which has no weight; fuse_conv_bn_eval takes 1 for it.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

linear = torch.nn.Linear(1, 1)
torch.nn.init.ones_(linear.weight)
norm = torch.nn.BatchNorm1d(1, eps=3.0, affine=False)  # x / sqrt(1 + eps) = x / 2
try:
    got = torch.nn.utils.fuse_linear_bn_eval(linear.eval(), norm.eval()).weight.item()
except TypeError as error:
    got = f"TypeError: {error}"
expected = 0.5
wrong = "TypeError: unsupported operand type(s) for *: 'NoneType' and 'Tensor'"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
