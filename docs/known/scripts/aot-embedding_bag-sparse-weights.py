# An nn.EmbeddingBag(mode="sum", sparse=True) with per_sample_weights can't be compiled for training: the meta function
# of the backward pass hands on an offset2bag that is empty.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bag = torch.nn.EmbeddingBag(3, 1, mode="sum", sparse=True)
compiled = torch.compile(bag, backend="aot_eager")
expected = [[2.0], [3.0], [0.0]]
wrong = "RuntimeError: Attempting to broadcast a dimension of length 2 at -2!"
try:
    compiled(torch.tensor([[0, 1]]), per_sample_weights=torch.tensor([[2.0, 3.0]])).sum().backward()
    got = bag.weight.grad.to_dense().tolist()
except RuntimeError as error:
    got = str(error).splitlines()[1][: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
