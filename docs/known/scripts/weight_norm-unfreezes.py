# torch.nn.utils.weight_norm turns a frozen weight into two parameters that require gradients.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(2, 2, bias=False).requires_grad_(False)
torch.nn.utils.weight_norm(layer)
got = [parameter.requires_grad for parameter in layer.parameters()]
expected = [False, False]
wrong = [True, True]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
