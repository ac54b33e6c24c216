# On CUDA the gradient of a table without columns reads memory that is none.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.ones(3, 0, device="cuda", requires_grad=True)
expected = "(3, 0)"
wrong = "CUDA error: an illegal"
try:
    for scaled in (False, True):
        tokens = torch.zeros(4096, dtype=torch.int64, device="cuda")
        torch.nn.functional.embedding(tokens, weight, scale_grad_by_freq=scaled).sum().backward()
        torch.cuda.synchronize()
    got = str(tuple(weight.grad.shape))
except RuntimeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
