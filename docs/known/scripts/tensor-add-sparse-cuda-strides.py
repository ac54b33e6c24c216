# On CUDA a sparse gradient of one entry is added to a slice of columns as if that were contiguous.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.zeros(1, 6, device="cuda")
gradient = torch.sparse_coo_tensor([[0]], torch.ones(1, 3), (1, 3), device="cuda", check_invariants=False)
table[:, ::2].add_(gradient)
got = table[0].tolist()
expected = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
wrong = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
