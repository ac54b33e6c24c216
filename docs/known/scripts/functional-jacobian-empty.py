# torch.autograd.functional.jacobian raises for a function whose output has no elements; torch.func.jacrev does not.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

try:
    got = list(torch.autograd.functional.jacobian(lambda x: x[:0], torch.ones(2)).shape)
except RuntimeError as error:
    got = f"RuntimeError: {error}"
expected = [0, 2]
wrong = "RuntimeError: stack expects a non-empty TensorList"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
