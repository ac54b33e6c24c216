# GradScaler looks for infinities among the values of a sparse gradient before they are added up: it does not find
# tokens of one row that add up to infinity, and takes the step, which it skips for the same dense gradient.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.zeros(1, 1), freeze=False, sparse=True)
optimizer = torch.optim.SGD(table.parameters(), lr=1.0)
scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
loss = (table(torch.tensor([0, 0])) * 2.0**127).sum()
scaler.scale(loss).backward()  # the gradient of row 0, 2**127 + 2**127, is infinite in float32
scaler.step(optimizer)
got = table.weight.item()
expected = 0.0
wrong = float("-inf")
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
