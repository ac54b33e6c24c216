# A deep copy of Adafactor raises KeyError: 'capturable' at its next step where CUDA is available.
import copy
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.ones(2, 2, device="cuda"))
weight.grad = torch.ones(2, 2, device="cuda")
optimizer = copy.deepcopy(torch.optim.Adafactor([weight]))
expected = "a step"
wrong = "KeyError: 'capturable'"
try:
    optimizer.step()
    got = "a step"
except KeyError as error:
    got = f"KeyError: {error}"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
