# LBFGS.step raises if the gradient of a parameter is not contiguous, as that of a transposed parameter is.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.ones(2, 2).T)
weight.sum().backward()
try:
    torch.optim.LBFGS([weight], max_iter=1).step(lambda: torch.ones(()))
    got = weight.tolist()
except RuntimeError as error:
    got = str(error).split(" (")[0]
expected = [[0.75, 0.75], [0.75, 0.75]]  # the first step is gradient / sum(abs(gradient))
wrong = "view size is not compatible with input tensor's size and stride"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
