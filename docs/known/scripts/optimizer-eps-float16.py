# The default eps=1e-8 is added to a float16 denominator, where it is zero: elements whose gradient is zero become NaN.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(2, 1, padding_idx=0, dtype=torch.float16)
table(torch.tensor([1])).sum().backward()
torch.optim.Adam(table.parameters()).step()
got = str(table.weight[0].item())  # the padding row, which has no gradient
expected = "0.0"
wrong = "nan"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
