# clip_grad_value_ raises if no parameter has a gradient, where clip_grad_norm_ returns 0.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(1, 1)
try:
    torch.nn.utils.clip_grad_value_(layer.parameters(), 1.0)
    got = "no error"
except RuntimeError as error:
    got = str(error).split(" to be")[0]
expected = "no error"
wrong = "Expected !nested_tensorlist[0].empty()"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
