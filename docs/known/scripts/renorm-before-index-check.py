# With max_norm rows are rescaled before the indices are checked: a lookup that raises IndexError has already written to
# the table, for a negative index to a row counted from the end.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.tensor([[4.0], [4.0]]), max_norm=1.0)
try:
    got = table(torch.tensor([0, -1])).tolist()
except IndexError:
    got = table.weight.flatten().tolist()
expected = [4.0, 4.0]
wrong = [1.0, 1.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
