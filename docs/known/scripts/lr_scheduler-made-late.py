# ExponentialLR(last_epoch=…) changes the rate that the optimizer has loaded at once.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

group = {"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.5, "initial_lr": 1.0}  # as it is after one epoch
optimizer = torch.optim.SGD([group])
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5, last_epoch=0)
got = scheduler.get_last_lr()
expected = [0.5]
wrong = [0.25]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
