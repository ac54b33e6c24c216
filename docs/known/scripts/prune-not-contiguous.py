# l1_unstructured, random_unstructured and global_unstructured raise for a weight that is not contiguous.
import sys

import torch
from torch.nn.utils import prune

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(2, 2)
layer.weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).T)
try:
    got = prune.l1_unstructured(layer, "weight", amount=2).weight.tolist()
except RuntimeError as error:
    got = str(error).split(" (")[0]
expected = [[0.0, 3.0], [0.0, 4.0]]
wrong = "view size is not compatible with input tensor's size and stride"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
