# The per-sample gradients of nn.Embedding ignore padding_idx and scale_grad_by_freq.
import sys

import torch
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(2, 1, padding_idx=0, scale_grad_by_freq=True)
sample = torch.tensor([[0, 1, 1]])
call_for_per_sample_grads(table)(sample).sum().backward()
got = table.weight.grad_sample.flatten().tolist()
expected = [0.0, 1.0]  # as table(sample).sum().backward() gives in table.weight.grad
wrong = [1.0, 2.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
