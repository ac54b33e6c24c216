# Per-sample gradients of an Embedding raise for int32 indices, which the Embedding takes.
import sys

import torch
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(1, 1)
try:
    call_for_per_sample_grads(table)(torch.zeros(1, 1, dtype=torch.int32)).sum().backward()
    got = table.weight.grad_sample.tolist()
except RuntimeError as error:
    got = str(error)
expected = [[[1.0]]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if "Expected dtype int64 for index" in str(got) else 2)
