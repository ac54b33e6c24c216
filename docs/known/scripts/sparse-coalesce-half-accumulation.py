# coalesce() and to_dense() add the duplicates of a sparse tensor in the dtype of its values (CPU): the gradient of a
# frequent token stops growing at 256 in bfloat16 and at 2048 in float16.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(1, 1, sparse=True, dtype=torch.bfloat16)
table(torch.zeros(512, dtype=torch.int64)).sum().backward()
got = [table.weight.grad.to_dense().item(), table.weight.grad.coalesce().values().item()]
expected = [512.0, 512.0]
wrong = [256.0, 256.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
