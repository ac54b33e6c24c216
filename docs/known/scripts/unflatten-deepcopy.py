# copy.deepcopy of what torch.export.unflatten returns raises, since it copies the fake tensors in the metadata of the
# graph as if they had memory.
import copy
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

program = torch.export.export(torch.nn.Sequential(torch.nn.Linear(1, 1)), (torch.ones(1, 1),))
try:
    copy.deepcopy(torch.export.unflatten(program))
    got = "no error"
except RuntimeError as error:
    got = str(error).split(" (")[0]
expected = "no error"
wrong = "Cannot access data pointer of Tensor"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
