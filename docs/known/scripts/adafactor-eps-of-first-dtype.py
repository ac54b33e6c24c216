# Adafactor's eps1=None is documented as torch.finfo(param.dtype).eps, but the eps of the first parameter's dtype is
# used for all parameters of a group.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

first = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
second = torch.nn.Parameter(torch.ones(1))
first.grad = torch.zeros(1, dtype=torch.bfloat16)
second.grad = torch.tensor([2.0**-10])
torch.optim.Adafactor([first, second], lr=0.5).step()
got = second.item()
expected = 0.5  # as without the first one
wrong = 0.9375  # the gradient is divided by 2**-7, the eps of bfloat16, instead of by 2**-10
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
