# one_hot raises under vmap of torch.func.grad or vjp: there it looks at its values with .item().
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

gradient = torch.func.grad(lambda weight, token: (torch.nn.functional.one_hot(token, 2) * weight).sum())
expected = [[1.0, 0.0], [0.0, 1.0]]
wrong = "vmap: It looks like you're either (1) calling .item() on a Tensor"
try:
    got = torch.vmap(gradient, in_dims=(None, 0))(torch.ones(2), torch.tensor([0, 1])).tolist()
except RuntimeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
