# CosineAnnealingWarmRestarts.step(epoch) counts the restarts by int(math.log(x, T_mult)), where math.log(243, 3) is
# 4.999...: it misses the restart at epoch 121 (= 1 + 3 + 9 + 27 + 81), which step() makes.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=3)
scheduler.step(121)
got = scheduler.get_last_lr()
expected = [1.0]
wrong = [0.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
