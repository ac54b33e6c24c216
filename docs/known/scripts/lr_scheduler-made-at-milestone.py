# StepLR, MultiStepLR and ConstantLR made with last_epoch at a milestone change the optimizer's rate once more, which
# ExponentialLR, LinearLR and others leave as it is.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
optimizer.step()
scheduler.step()  # the rate of epoch 1 is 0.5
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5, last_epoch=0)
got = scheduler.get_last_lr()
expected = [0.5]  # as ExponentialLR(optimizer, gamma=0.5, last_epoch=0) gives
wrong = [0.25]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
