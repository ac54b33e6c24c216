# SequentialLR raises NotImplementedError at its milestone if the next scheduler is a ChainedScheduler or another
# SequentialLR: it calls get_lr(), which these do not implement.
import sys

import torch
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, ExponentialLR, SequentialLR

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
scheduler = SequentialLR(optimizer, [ConstantLR(optimizer), ChainedScheduler([ExponentialLR(optimizer, 0.5)])], [1])
try:
    scheduler.step()
    got = scheduler.get_last_lr()
except NotImplementedError:
    got = "NotImplementedError"
expected = [1.0]  # the second scheduler starts, as without the ChainedScheduler around it
wrong = "NotImplementedError"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
