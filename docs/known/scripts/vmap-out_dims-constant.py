# torch.vmap expands a result that depends on no input without making room for the new axis at out_dims, so that axes
# are swapped or it raises; for out_dims=-1 it writes before the memory of the list of sizes.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

got = torch.vmap(lambda x: torch.tensor([1.0, 2.0]), out_dims=1)(torch.zeros(2)).tolist()
expected = [[1.0, 1.0], [2.0, 2.0]]
wrong = [[1.0, 2.0], [1.0, 2.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
