# With meta as default device, the gradient of one token of a table with scale_grad_by_freq=True needs its number.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

wrong = "Tensor.item() cannot be called on meta tensors"
try:
    with torch.device("meta"):
        layer = torch.nn.Embedding(3, 2, scale_grad_by_freq=True)
        layer(torch.tensor(0)).sum().backward()
    got = tuple(layer.weight.grad.shape)
except RuntimeError as error:
    got = str(error)
print("got", got, "expected", (3, 2))
sys.exit(0 if got == (3, 2) else 1 if got == wrong else 2)
