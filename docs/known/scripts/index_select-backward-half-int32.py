# The gradient of index_select is added in the dtype of the tensor where the indices are int32 (CPU), and stops growing
# at 256 in bfloat16; with int64 indices it is added in float32.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

got = []
for dtype in (torch.int64, torch.int32):
    weight = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    weight.index_select(0, torch.zeros(512, dtype=dtype)).sum().backward()
    got.append(weight.grad.item())
expected = [512.0, 512.0]
wrong = [512.0, 256.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
