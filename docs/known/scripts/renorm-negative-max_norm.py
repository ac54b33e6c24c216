# nn.Embedding accepts a negative max_norm, which no norm can be, and changes the sign of every row that is looked up;
# torch.renorm refuses it.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

try:
    table = torch.nn.Embedding.from_pretrained(torch.tensor([[3.0, 4.0]]), max_norm=-5.0)
    got = table(torch.tensor([0])).tolist()
except (RuntimeError, ValueError):
    got = "an error"
expected = "an error"
wrong = [[-3.0, -4.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
