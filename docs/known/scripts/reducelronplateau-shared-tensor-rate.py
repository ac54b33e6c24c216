# ReduceLROnPlateau multiplies the lr of each group in place: a tensor lr that two groups share is reduced twice.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

groups = [{"params": [torch.nn.Parameter(torch.ones(1))]}, {"params": [torch.nn.Parameter(torch.ones(1))]}]
optimizer = torch.optim.SGD(groups, lr=torch.tensor(1.0))
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
scheduler.step(1.0)
scheduler.step(1.0)  # no improvement
got = [float(group["lr"]) for group in optimizer.param_groups]
expected = [0.5, 0.5]
wrong = [0.25, 0.25]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
