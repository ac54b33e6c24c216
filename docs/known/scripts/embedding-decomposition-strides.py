# The result of the decomposition of aten::embedding has strides that follow those of the indices, where the operator's
# result is contiguous.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.ones(1, 2)
indices = torch.zeros(3, 2, dtype=torch.int64).t()
embedding = torch._decomp.decomposition_table[torch.ops.aten.embedding.default]
got = embedding(weight, indices).stride()
expected = (6, 2, 1)  # as of torch.embedding(weight, indices)
wrong = (2, 4, 1)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
