# ConstantLR accepts factor=0, a rate of zero for the first total_iters steps, but divides by it when these are over.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.0, total_iters=1)
optimizer.step()
try:
    scheduler.step()
    got = scheduler.get_last_lr()
except ZeroDivisionError as error:
    got = f"ZeroDivisionError: {error}"
expected = [0.5]
wrong = "ZeroDivisionError: float division by zero"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
