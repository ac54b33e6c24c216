# CosineAnnealingWarmRestarts made with last_epoch and T_mult above 1 takes the epoch modulo T_0, as if all cycles
# before had the length of the first one, and sets another rate.
import sys

import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=2)
for _ in range(5):
    scheduler.step()  # epoch 5 is the middle of the cycle of epochs 3 to 6
scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=2, last_epoch=4)
got = round(scheduler.get_last_lr()[0], 6)
expected = 0.5  # the rate that the optimizer had
wrong = 1.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
