# clip_grad_norm_ raises for a sparse gradient, such as that of nn.Embedding(sparse=True).
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(1, 4, sparse=True)
table(torch.tensor([0])).sum().backward()
try:
    got = torch.nn.utils.clip_grad_norm_(table.parameters(), 1.0).item()
except NotImplementedError as error:
    got = str(error).split(" with")[0]
expected = 2.0
wrong = "Could not run 'aten::linalg_vector_norm'"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
