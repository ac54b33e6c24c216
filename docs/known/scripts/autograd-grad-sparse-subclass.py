# torch.autograd.grad raises if the gradient of a Tensor subclass is sparse: it converts the result by as_subclass,
# which sparse tensors do not support. backward() does not raise.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other


class Table(torch.Tensor):
    pass


weight = torch.ones(2, 2).as_subclass(Table).requires_grad_()
loss = torch.nn.functional.embedding(torch.tensor([1]), weight, sparse=True).sum()
try:
    got = torch.autograd.grad(loss, weight)[0].to_dense().tolist()
except NotImplementedError as error:
    got = f"NotImplementedError: {error}"
expected = [[0.0, 0.0], [1.0, 1.0]]
wrong = "NotImplementedError: Cannot access storage of SparseTensorImpl"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
