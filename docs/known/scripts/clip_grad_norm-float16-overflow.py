# clip_grad_norm_ computes the total norm of float16 gradients in float16: above 65504 it is infinite, and finite
# gradients are multiplied by zero.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

p = torch.nn.Parameter(torch.zeros(4, dtype=torch.float16))
p.grad = torch.full((4,), 40000.0, dtype=torch.float16)  # of norm 80000
torch.nn.utils.clip_grad_norm_([p], 1.0)
got = [round(value, 2) for value in p.grad.tolist()]
expected = [0.5, 0.5, 0.5, 0.5]
wrong = [0.0, 0.0, 0.0, 0.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
