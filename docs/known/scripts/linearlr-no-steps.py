# LinearLR with total_iters=0 leaves the learning rate at start_factor for ever, and never goes to end_factor.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, end_factor=1.0, total_iters=0)
optimizer.step()
scheduler.step()
got = scheduler.get_last_lr()
expected = [1.0]
wrong = [0.5]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
