# get_swa_multi_avg_fn averages float64 weights with a share that is computed in float32.
import sys

import torch
from torch.optim import swa_utils

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_swa_multi_avg_fn())
for value in (0.0, 0.0, 1.0):
    torch.nn.init.constant_(model.weight, value)
    average.update_parameters(model)
got = average.module.weight.item()
expected = 0.3333333333333333
wrong = 0.3333333432674408  # a third in float32
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
