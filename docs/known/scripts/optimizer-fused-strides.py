# The fused CPU kernels of SGD, Adam, AdamW and Adagrad take parameter and gradient for flat memory: where their strides
# differ, elements are updated with the gradients of others.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.zeros(2, 2).T)
weight.grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
torch.optim.SGD([weight], lr=1.0, fused=True).step()
got = weight.tolist()
expected = [[-1.0, -2.0], [-3.0, -4.0]]
wrong = [[-1.0, -3.0], [-2.0, -4.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
