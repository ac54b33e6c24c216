# clip_grad_value_ raises for a sparse gradient, such as that of nn.Embedding(sparse=True).
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(1, 2, sparse=True)
table(torch.tensor([0])).sum().backward()
try:
    torch.nn.utils.clip_grad_value_(table.parameters(), 0.5)
    got = table.weight.grad.to_dense().tolist()
except NotImplementedError as error:
    got = str(error).split(" with")[0]
expected = [[0.5, 0.5]]
wrong = "Could not run 'aten::clamp_min_'"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
