# copy.deepcopy of a module with torch.nn.utils.weight_norm raises, for the product of gain and direction is an
# attribute with a graph. (With torch.nn.utils.spectral_norm it raises after the first forward.)
import copy
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(1, 1, bias=False)
torch.nn.init.constant_(layer.weight, 3.0)
torch.nn.utils.weight_norm(layer)
try:
    got = copy.deepcopy(layer)(torch.ones(1)).item()
except RuntimeError as error:
    got = f"RuntimeError: {error}".split(" (")[0]
expected = 3.0
wrong = "RuntimeError: Only Tensors created explicitly by the user"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
