# With include_last_offset=True the last offset is the end of the last bag. Tokens behind it are reduced into that bag
# nevertheless, except by the fast kernel of mode="sum".
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.tensor([[1.0], [2.0], [3.0]])
offsets = torch.tensor([0, 1])  # one bag, of the first token
bags = torch.nn.EmbeddingBag.from_pretrained(table, mode="max", include_last_offset=True)
got = bags(torch.tensor([0, 1, 2]), offsets).item()
expected = 1.0
wrong = 3.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
