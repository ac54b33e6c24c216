# register_parametrization (here that of orthogonal) writes right_inverse(weight) into the memory of the Parameter: the
# rows of an embedding that is tied to it become other numbers.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), freeze=False)
head = torch.nn.Linear(2, 2, bias=False)
head.weight = table.weight
torch.nn.utils.parametrizations.orthogonal(head)
got = table.weight.tolist()
expected = [[1.0, 2.0], [3.0, 4.0]]
wrong = [[-1.0, 0.0], [0.0, -1.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
