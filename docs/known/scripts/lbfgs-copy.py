# A copied or unpickled LBFGS can't step: it keeps its parameters in _params, which Optimizer.__getstate__ leaves out.
import copy
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.ones(1))
weight, optimizer = copy.deepcopy((weight, torch.optim.LBFGS([weight], max_iter=1)))
weight.sum().backward()
try:
    optimizer.step(lambda: torch.ones(()))
    got = weight.item()
except AttributeError as error:
    got = str(error)
expected, wrong = 0.0, "'LBFGS' object has no attribute '_params'"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
