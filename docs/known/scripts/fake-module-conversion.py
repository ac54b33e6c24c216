# Under FakeTensorMode Module.to, double, half and the like raise: a parameter can't be swapped with the converted one.
import sys

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

expected = torch.float64
wrong = "_apply(): Couldn't swap Embedding.weight"
try:
    with FakeTensorMode():
        got = torch.nn.Embedding(2, 1).to(torch.float64).weight.dtype
except RuntimeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
