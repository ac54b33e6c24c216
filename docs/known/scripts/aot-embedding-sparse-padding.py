# nn.Embedding(padding_idx=..., sparse=True) can't be compiled for training with fullgraph=True: its backward pass
# selects the tokens that are no padding with a mask, and the size of the result depends on the data.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(3, 1, padding_idx=0, sparse=True)
expected = [[0.0], [1.0], [0.0]]
wrong = "GuardOnDataDependentSymNode: Could not guard on data-dependent expression"
try:
    torch.compile(table, backend="aot_eager", fullgraph=True)(torch.tensor([0, 1])).sum().backward()
    got = table.weight.grad.to_dense().tolist()
except RuntimeError as error:
    got = str(error).splitlines()[1][: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
