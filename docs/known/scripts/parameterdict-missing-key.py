# A key that a ParameterDict does not have is an AttributeError, where it is a KeyError of a dict and of nn.ModuleDict.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

try:
    got = torch.nn.ParameterDict()["missing"]
except (AttributeError, KeyError) as error:
    got = f"{type(error).__name__}: {error}"
expected = "KeyError: 'missing'"
wrong = "AttributeError: 'ParameterDict' object has no attribute 'missing'"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
