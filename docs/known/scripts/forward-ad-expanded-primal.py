# torch.func.jvp, jacfwd and hessian raise for an argument that is expanded: make_dual writes the tangent into a tensor
# that it laid as the argument, whose elements share memory. vjp and jacrev give the derivative.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

try:
    got = torch.func.jvp(torch.square, (torch.ones(1).expand(3),), (torch.ones(3),))[1].tolist()
except RuntimeError as error:
    got = str(error)
expected = [2.0, 2.0, 2.0]
wrong = "unsupported operation: more than one element of the written-to tensor refers to a single memory location."
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if str(got).startswith(wrong) else 2)
