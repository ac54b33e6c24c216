# The values of a sparse .grad share memory with the tensor that was passed to backward(): writing to either of them
# changes the other.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(2, 1, sparse=True)
upstream = torch.ones(1, 1)
table(torch.tensor([1])).backward(upstream)
upstream.zero_()  # a dense .grad is a copy
got = table.weight.grad.to_dense().flatten().tolist()
expected = [0.0, 1.0]
wrong = [0.0, 0.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
