# Removing parametrizations.weight_norm from a frozen weight leaves a plain Tensor, which is missing from parameters().
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(2, 2, bias=False).requires_grad_(False)
torch.nn.utils.parametrizations.weight_norm(layer)
torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")
got = [name for name, _ in layer.named_parameters()]
expected = ["weight"]
wrong = []
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
