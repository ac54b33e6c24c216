# linear_cross_entropy in chunks multiplies ignored targets by zero instead of leaving them out: the gradient is NaN if
# all targets are ignored, and the loss is NaN if an ignored row contains a NaN.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=1)
head = torch.zeros(2, 1)
rows = torch.ones(2, 1, requires_grad=True)
torch.nn.functional.linear_cross_entropy(rows, head, torch.tensor([-100, -100]), options=options).backward()
some = torch.tensor([[1.0], [torch.nan]])
loss = torch.nn.functional.linear_cross_entropy(some, head, torch.tensor([0, -100]), options=options)
got = str([rows.grad.flatten().tolist(), round(loss.item(), 4)])
expected = "[[0.0, 0.0], 0.6931]"  # as cross_entropy(rows @ head.T, ...)
wrong = "[[nan, nan], nan]"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
