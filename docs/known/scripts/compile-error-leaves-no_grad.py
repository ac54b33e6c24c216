# An exception within torch.no_grad() in a compiled function leaves autograd switched off for the rest of the process.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other


@torch.compile(backend="eager")
def look(tokens, table):
    with torch.no_grad():
        return torch.nn.functional.embedding(tokens, table)


try:
    look(torch.tensor([5]), torch.ones(2, 1))  # 5 is out of range
except IndexError:
    got = torch.is_grad_enabled()
expected = True
wrong = False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
