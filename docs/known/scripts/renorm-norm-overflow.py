# With max_norm a row becomes zeros if the sum of its squares overflows the table's dtype, although its norm does not.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.tensor([[2.0**64, 0.0]]), max_norm=1.0)
got = table(torch.tensor([0])).flatten().tolist()  # the square of 2**64 is infinite in float32
expected = [1.0, 0.0]
wrong = [0.0, 0.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
