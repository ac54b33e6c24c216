# step() of LambdaLR, CosineAnnealingLR, OneCycleLR and others raises after optimizer.add_param_group.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
try:
    optimizer.step()
    scheduler.step()
    got = optimizer.param_groups[0]["lr"]
except ValueError as error:
    got = str(error)
expected, wrong = 0.5, "zip() argument 2 is shorter than argument 1"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
