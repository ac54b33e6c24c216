# With scale_grad_by_freq the gradient of embedding_bag divides a row by the count of another token (CPU).
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.EmbeddingBag(2, 1, mode="sum", scale_grad_by_freq=True)
table(torch.tensor([[0, 0, 1]])).sum().backward()
got = table.weight.grad.flatten().tolist()
expected = [1.0, 1.0]  # 2 / 2 for token 0, 1 / 1 for token 1
wrong = [1.0, 0.5]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
