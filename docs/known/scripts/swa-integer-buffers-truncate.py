# AveragedModel(use_buffers=True) truncates the share that it adds to an integer buffer in each update: the average of
# num_batches_tracked stays 1.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.BatchNorm1d(1)
average = torch.optim.swa_utils.AveragedModel(model, use_buffers=True)
for _ in range(9):
    model(torch.ones(2, 1))
    average.update_parameters(model)
got = average.module.num_batches_tracked.item()
expected = 5  # the mean of 1 to 9, up to rounding
wrong = 1
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 1 else 1 if got == wrong else 2)
