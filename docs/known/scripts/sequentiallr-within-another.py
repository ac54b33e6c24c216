# A SequentialLR around another SequentialLR takes a step of it when it is made: every rate comes an epoch early.
import sys

import torch
from torch.optim.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
parts = [ConstantLR(optimizer, factor=0.5, total_iters=2), ExponentialLR(optimizer, gamma=0.9)]
inner = SequentialLR(optimizer, parts, milestones=[2])
outer = SequentialLR(optimizer, [inner], milestones=[])
optimizer.step()
outer.step()
got = outer.get_last_lr()  # at epoch 1
expected = [0.5]
wrong = [1.0]  # the rate of epoch 2
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
