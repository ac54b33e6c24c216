# CosineAnnealingWarmRestarts made with last_epoch puts a number in the place of a rate that is a tensor.
import sys

import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

group = {"params": torch.nn.Linear(1, 1).parameters(), "lr": torch.tensor(1.0), "initial_lr": 1.0}
optimizer = torch.optim.SGD([group])
CosineAnnealingWarmRestarts(optimizer, T_0=2, last_epoch=0)
got = type(optimizer.param_groups[0]["lr"])
expected = torch.Tensor
print("got", got, "expected", expected)
sys.exit(0 if got is expected else 1 if got is float else 2)
