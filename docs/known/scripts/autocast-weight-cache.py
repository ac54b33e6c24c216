# torch.autocast keeps the cast of a weight until its region ends: after an in-place change of the weight within the
# region nn.Linear goes on with the old one.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(1, 1, bias=False)
torch.nn.init.constant_(layer.weight, 1.0)
with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
    layer(torch.ones(1))
    layer.weight.fill_(2.0)
    got = layer(torch.ones(1)).item()
expected = 2.0
wrong = 1.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
