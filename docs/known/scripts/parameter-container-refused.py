# ParameterList.append counts the element before it stores it: one that is refused leaves a place without a value, so
# that the list can't be iterated over any more. (ParameterDict keeps the key of a value that it refuses, too.)
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

parameters = torch.nn.ParameterList()
try:
    parameters.append(torch.tensor([1]))
except RuntimeError:  # Only Tensors of floating point and complex dtype can require gradients
    got = len(parameters)
expected = 0
wrong = 1
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
