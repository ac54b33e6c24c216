# remove_parametrizations on a deep copy deletes the property from the class that the copy shares with the original layer.
import copy
import sys

import torch
from torch.nn.utils import parametrizations, parametrize

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(2, 2)
parametrizations.weight_norm(layer)
parametrize.remove_parametrizations(copy.deepcopy(layer), "weight")
got = hasattr(layer, "weight")
print("got", got, "expected", True)
sys.exit(0 if got else 1)
