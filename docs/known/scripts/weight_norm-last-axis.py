# weight_norm(dim=-1) computes one norm over the whole weight, as documented for dim=None, though dim=-2 counts from the
# end.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

linear = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 3), dim=-1)
got = list(linear.parametrizations.weight.original0.shape)
expected = [1, 2]  # as with dim=1: one norm for each column
wrong = []
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
