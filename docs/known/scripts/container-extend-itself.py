# ModuleList.extend and Sequential.extend add to what they iterate over if it is the list itself, and raise; of a Python
# list and of nn.ParameterList l.extend(l) doubles the list.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layers = torch.nn.ModuleList([torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)])
try:
    got = len(layers.extend(layers))
except RuntimeError as error:
    got = f"RuntimeError: {error}"
expected = 4
wrong = "RuntimeError: dictionary changed size during iteration"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
