# EmbeddingBag(include_last_offset=True) of a 2-D batch, which has no last offset, returns a row too few and writes the
# last bag behind it.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
bag = torch.nn.EmbeddingBag.from_pretrained(table, mode="sum", include_last_offset=True)
got = bag(torch.tensor([[0], [1]])).tolist()
expected = [[1.0], [2.0]]
wrong = [[3.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
