# ReduceLROnPlateau puts a float in the place of a tensor lr.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=torch.tensor(1.0))
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
for loss in (1.0, 1.0):
    optimizer.step()
    scheduler.step(loss)
(group,) = optimizer.param_groups
got, expected, wrong = repr(group["lr"]), "tensor(0.5000)", "0.5"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
