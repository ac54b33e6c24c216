# checkpoint(use_reentrant=False) of a scripted or traced module raises in backward: it ends the recomputation early by
# an exception without a text, which the TorchScript interpreter turns into a RuntimeError.
import sys

import torch
from torch.utils.checkpoint import checkpoint

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(2, 1)
expected = [[1.0], [0.0]]
wrong = "The following operation failed in the TorchScript interpreter. RuntimeError: "
try:
    checkpoint(torch.jit.script(table), torch.tensor([0]), use_reentrant=False).sum().backward()
    got = table.weight.grad.tolist()
except RuntimeError as error:
    first, *_, last = str(error).splitlines()
    got = f"{first} {last}"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
