# torch.func.jacfwd returns zeros for a negative argnums, which jacrev and grad count from the end.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

got = torch.func.jacfwd(torch.mul, argnums=-1)(torch.tensor(3.0), torch.tensor(5.0)).item()
expected = 3.0
wrong = 0.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
