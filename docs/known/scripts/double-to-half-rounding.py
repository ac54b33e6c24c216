# float64 is converted to float16 and bfloat16 by way of float32: a number just above the middle between two of the
# smaller type is rounded to the middle first, and then to the wrong neighbour.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

got = torch.tensor(1 + 2**-11 + 2**-40, dtype=torch.float64).half().item()
expected = 1 + 2**-10  # the nearest float16
wrong = 1.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
