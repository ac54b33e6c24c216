# With rates in tensors SequentialLR's second scheduler begins at the rate that the first one left, not at the first rate.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=torch.tensor(1.0))
warmup = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=1)
decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], milestones=[1])
optimizer.step()
scheduler.step()
got = optimizer.param_groups[0]["lr"].item()
expected = 1.0  # ExponentialLR begins at the rate of the optimizer
wrong = 0.5
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
