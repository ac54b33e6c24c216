# Adagrad makes its sums when it is built and not for parameters that add_param_group adds later: step() raises KeyError.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

first, late = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.Adagrad([first], lr=0.5)
optimizer.add_param_group({"params": [late]})
late.grad = torch.ones(1)
try:
    optimizer.step()
    got = late.item()
except KeyError as error:
    got = repr(error)
expected = 0.5
wrong = "KeyError('sum')"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
