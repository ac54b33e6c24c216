# ModuleList.insert does not count a negative index from the end, as list.insert and nn.Sequential.insert do: KeyError.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layers = torch.nn.ModuleList([torch.nn.Linear(1, 1), torch.nn.ReLU()])
try:
    layers.insert(-1, torch.nn.Tanh())
    got = [type(layer).__name__ for layer in layers]
except KeyError as error:
    got = f"KeyError: {error}"
expected = ["Linear", "Tanh", "ReLU"]
wrong = "KeyError: '-1'"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
