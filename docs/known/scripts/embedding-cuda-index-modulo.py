# On CUDA an index of 2^32 is taken for 0 where there are few indices.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.tensor([[4.0], [8.0]], device="cuda")
expected = "refused"
wrong = "4.0"
try:
    got = str(torch.nn.functional.embedding(torch.tensor([2**32], device="cuda"), weight).item())
except (IndexError, RuntimeError) as error:
    got = "refused" if "assert" in str(error) or "range" in str(error) else str(error)
print("got", got[:80], "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
