# torch.nn.utils.parameters_to_vector raises for a parameter that is not contiguous, such as a transposed one.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).T)
try:
    got = torch.nn.utils.parameters_to_vector([weight]).tolist()
except RuntimeError as error:
    got = str(error).split(" (")[0]
expected = [1.0, 3.0, 2.0, 4.0]
wrong = "view size is not compatible with input tensor's size and stride"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
