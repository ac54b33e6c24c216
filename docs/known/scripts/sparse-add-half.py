# Two sparse gradients in half precision can't be added on the CPU, so a second backward of nn.Embedding(sparse=True)
# raises.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(1, 1, sparse=True, dtype=torch.float16)
try:
    table(torch.tensor([0])).sum().backward()
    table(torch.tensor([0])).sum().backward()
    got = table.weight.grad.to_dense().item()
except NotImplementedError as error:
    got = str(error)
expected = 2.0
wrong = "\"cadd_sparse\" not implemented for 'Half'"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
