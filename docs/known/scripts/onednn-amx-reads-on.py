# With AMX, a bfloat16 linear layer gives NaN for a row that is finite if the next row of the input is infinite and
# the width is no multiple of 2 * ceil(width / 32): oneDNN reads beyond the row and multiplies that by zero.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

x = torch.ones(17, 17, dtype=torch.bfloat16)
x[1:] = torch.inf
weight = torch.ones(15, 17, dtype=torch.bfloat16)
got = str(torch.nn.functional.linear(x, weight)[0, 0].item())
expected = "17.0"
wrong = "nan"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
