# create_graph=True raises for a compiled embedding with sparse=True whose table has no columns: AOTAutograd calls view
# on the sparse gradient.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(2, 0, sparse=True)
loss = torch.compile(table, backend="aot_eager")(torch.tensor([0])).sum()
try:
    (grad,) = torch.autograd.grad(loss, table.weight, create_graph=True)
    got = list(grad.shape)
except NotImplementedError as error:
    got = str(error).partition(".")[0]
expected = [2, 0]
wrong = "Could not run 'aten::view' with arguments from the 'SparseCPU' backend"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
