# LBFGS accepts a negative learning rate, which every other optimizer refuses with ValueError.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

try:
    got = torch.optim.LBFGS([torch.nn.Parameter(torch.ones(1))], lr=-0.5).param_groups[0]["lr"]
except ValueError:
    got = "ValueError"
expected = "ValueError"
wrong = -0.5
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
