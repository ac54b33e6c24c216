# The fused optimizers of CUDA raise an internal error for a gradient whose strides are not those of its parameter.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.zeros(2, 2, device="cuda").T)
weight.grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]], device="cuda")
expected = "[[-1.0, -2.0], [-3.0, -4.0]]"
try:
    torch.optim.SGD([weight], lr=1.0, fused=True).step()
    got = str(weight.tolist())
except RuntimeError as error:
    got = str(error)
print("got", got[:80], "expected", expected)
sys.exit(0 if got == expected else 1 if "check_fast_path_restrictions" in got else 2)
