# A LazyLinear with a bias whose weight is set already, such as a tied one, raises in its first call: as the bias is
# uninitialized, it tries to materialize the weight, too.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(3, 2)
head = torch.nn.LazyLinear(3)
head.weight = table.weight
try:
    got = list(head(torch.ones(1, 2)).shape)
except AttributeError as error:
    got = f"AttributeError: {error}"
expected = [1, 3]
wrong = "AttributeError: 'Parameter' object has no attribute 'materialize'"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
