# get_swa_multi_avg_fn averages integer buffers by addcdiv, which refuses integers: with use_buffers=True a model with
# BatchNorm, which counts its batches, can't be averaged twice.
import sys

from torch import nn, optim

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = nn.BatchNorm1d(1)
average = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_swa_multi_avg_fn(), use_buffers=True)
average.update_parameters(model)
try:
    average.update_parameters(model)
    got = average.module.num_batches_tracked.item()
except RuntimeError as error:
    got = str(error).partition(",")[0]
expected = 0  # the average of 0 and 0, as without multi_avg_fn
wrong = "Integer division with addcdiv is no longer supported"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
