# nn.init.orthogonal_ raises for a tensor of three or more dimensions that is not contiguous, such as the weight of a
# convolution in channels_last.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Conv2d(2, 2, 2).to(memory_format=torch.channels_last).weight
expected = [[1.0, 0.0], [0.0, 1.0]]
wrong = "view size is not compatible with input tensor's size and stride"
try:
    rows = torch.nn.init.orthogonal_(weight).flatten(1)  # it ends in tensor.view_as(q).copy_(q)
    got = (rows @ rows.T).round().tolist()
except RuntimeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
