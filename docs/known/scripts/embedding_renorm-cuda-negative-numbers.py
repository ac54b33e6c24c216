# On CUDA a norm_type other than 1 and 2 takes powers of negative numbers, and not of their magnitudes: (-3)³ + 3³ is 0.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.tensor([[-3.0, 3.0]], device="cuda")
torch.nn.functional.embedding(torch.tensor([0], device="cuda"), weight, max_norm=1.0, norm_type=3.0)
got = [round(number, 4) for number in weight[0].tolist()]
expected = [-0.7937, 0.7937]  # divided by the cube root of 27 + 27
wrong = [-3.0, 3.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
