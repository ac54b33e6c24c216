# functional_call fills the slot of a module that has two names twice and restores its own replacement: afterwards the
# model holds the tensor that was passed in, and has lost its Parameter.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(1, 1, bias=False)
torch.nn.init.ones_(layer.weight)
model = torch.nn.Sequential(layer, layer)
torch.func.functional_call(model, {"0.weight": torch.zeros(1, 1)}, torch.ones(1, 1))
got = [type(layer.weight).__name__, layer.weight.item()]
expected = ["Parameter", 1.0]
wrong = ["Tensor", 0.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
