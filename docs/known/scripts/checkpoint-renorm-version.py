# checkpoint(use_reentrant=False) raises in backward if an argument is the weight of an embedding with max_norm: the
# lookup increases the version of the weight, even if no row is rescaled.
import sys

import torch
from torch.nn.functional import embedding
from torch.utils.checkpoint import checkpoint

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.ones(2, 1, requires_grad=True)
expected = [[1.0], [0.0]]
wrong = "one of the variables needed for gradient computation has been modified by an inplace operation"
try:
    checkpoint(embedding, torch.tensor([0]), weight, max_norm=2.0, use_reentrant=False).sum().backward()
    got = weight.grad.tolist()
except RuntimeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
