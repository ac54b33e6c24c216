# torch.func.jacfwd(has_aux=True) raises for an argument without elements: it takes aux from the first column of the
# Jacobian, and there is none. Without has_aux the empty Jacobian comes out.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

try:
    jacobian, aux = torch.func.jacfwd(lambda x: (2 * x, x), has_aux=True)(torch.ones(0))
    got = list(jacobian.shape)
except IndexError as error:
    got = f"IndexError: {error}"
expected = [0, 0]
wrong = "IndexError: index 0 is out of bounds for dimension 0 with size 0"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
