# On CUDA the derivative of index_select adds in half precision: a bfloat16 gradient of 300 ones is 256.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.ones(1, 1, device="cuda", dtype=torch.bfloat16, requires_grad=True)
rows = weight.index_select(0, torch.zeros(300, dtype=torch.int64, device="cuda"))
rows.backward(torch.ones_like(rows))
got = str(weight.grad.item())
expected = "300.0"
wrong = "256.0"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
