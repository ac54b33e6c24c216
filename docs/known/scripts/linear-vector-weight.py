# F.linear raises for a weight of shape (in_features) with a bias and an input of rank 2: it calls addmm, which takes no
# vector. Such a weight is documented, and works with an input of rank 1 or 3, or without a bias.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

try:
    got = torch.nn.functional.linear(torch.ones(2, 3), torch.ones(3), torch.tensor(1.0)).tolist()
except RuntimeError as error:
    got = str(error).removeprefix("addmm: ")
expected = [4.0, 4.0]
wrong = "mat2 must be a matrix, got 1-D tensor"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
