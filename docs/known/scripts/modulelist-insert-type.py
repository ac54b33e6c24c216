# ModuleList.insert takes what is no module, where append, extend and [] raise TypeError.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layers = torch.nn.ModuleList()
try:
    layers.insert(0, "no module")
    got = layers[0]
except TypeError:
    got = "TypeError"
expected = "TypeError"
wrong = "no module"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
