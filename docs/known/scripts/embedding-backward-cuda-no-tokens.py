# On CUDA the gradient of no tokens raises with scale_grad_by_freq.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.ones(2, 3, device="cuda", requires_grad=True)
tokens = torch.zeros(0, dtype=torch.int64, device="cuda")
expected = "0.0"
wrong = "CUDA error: invalid"
try:
    torch.nn.functional.embedding(tokens, weight, scale_grad_by_freq=True).sum().backward()
    got = str(weight.grad.sum().item())
except RuntimeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
