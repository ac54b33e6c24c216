# SWALR ignores last_epoch: a new object begins a whole annealing from the rate that the optimizer has.
import sys

import torch
from torch.optim.swa_utils import SWALR

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
scheduler = SWALR(optimizer, swa_lr=0.5, anneal_epochs=4, anneal_strategy="linear")
optimizer.step()
scheduler.step()  # the rates are 1, 0.875, 0.75, 0.625, 0.5
scheduler = SWALR(optimizer, swa_lr=0.5, anneal_epochs=4, anneal_strategy="linear", last_epoch=0)
scheduler.step()
got = scheduler.get_last_lr()
expected = [0.75]
wrong = [0.78125]  # a quarter of the way from 0.875 to 0.5
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
