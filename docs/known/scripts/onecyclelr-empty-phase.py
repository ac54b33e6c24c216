# OneCycleLR can't be made if its first phase has no length (pct_start * total_steps is 1): it divides by this length.
# In the same way pct_start=1, a last phase of no length, raises in the last step.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
try:
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10, pct_start=0.1)
    got = "no error"
except ZeroDivisionError as error:
    got = f"ZeroDivisionError: {error}"
expected = "no error"
wrong = "ZeroDivisionError: float division by zero"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
