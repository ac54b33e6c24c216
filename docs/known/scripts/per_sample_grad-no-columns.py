# Per-sample gradients of an embedding without columns raise: they are reshaped with -1, which is ambiguous.
import sys

import torch
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(3, 0)
try:
    call_for_per_sample_grads(table)(torch.tensor([[0], [1]])).sum().backward()
    got = list(table.weight.grad_sample.shape)
except RuntimeError as error:
    got = str(error).partition(" because")[0]
expected = [2, 3, 0]
wrong = "cannot reshape tensor of 0 elements into shape [2, -1, 0]"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
