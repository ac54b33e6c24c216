# On CUDA an index out of range is accepted by a table without columns.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.zeros(1, 0, device="cuda")
tokens = torch.tensor([5], device="cuda")
expected = "refused"
wrong = "(1, 0)"
try:
    got = str(tuple(torch.nn.functional.embedding(tokens, weight).shape))
    torch.cuda.synchronize()
except (IndexError, RuntimeError) as error:
    got = "refused" if "assert" in str(error) or "range" in str(error) else str(error)
print("got", got[:80], "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
