# xavier_uniform_ and xavier_normal_ divide by fan_in + fan_out, which is zero for a tensor of shape (0, 0). Other
# initializers do nothing.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

try:
    got = list(torch.nn.init.xavier_uniform_(torch.empty(0, 0)).shape)
except ZeroDivisionError as error:
    got = f"ZeroDivisionError: {error}"
expected = [0, 0]
wrong = "ZeroDivisionError: float division by zero"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
