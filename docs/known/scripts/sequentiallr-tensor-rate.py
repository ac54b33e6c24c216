# A tensor lr, its initial_lr and the result of get_last_lr() are the same tensor: SequentialLR's second scheduler starts at the
# lr at which the first one ended, not at initial_lr, and the result changes with each later step.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=torch.tensor(1.0))
warmup = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=1)
decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], milestones=[1])
told = scheduler.get_last_lr()  # 0.5
for _ in range(2):
    optimizer.step()
    scheduler.step()
got = [float(told[0]), optimizer.param_groups[0]["lr"].item()]
expected = [0.5, 0.5]  # then ExponentialLR starts at 1, and halves it
wrong = [0.25, 0.25]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
