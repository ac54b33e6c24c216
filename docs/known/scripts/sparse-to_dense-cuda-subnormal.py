# On CUDA to_dense() takes subnormal numbers of duplicates for zero.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

places = torch.zeros(1, 2, dtype=torch.int64, device="cuda")
numbers = torch.full((2, 1), 2.0**-140, device="cuda")
got = str(torch.sparse_coo_tensor(places, numbers, (1, 1), check_invariants=False).to_dense().item())
expected = str(2.0**-139)
wrong = "0.0"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
