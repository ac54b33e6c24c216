# On CUDA the gradient of mode='max' adds bag by bag in half precision: beyond 2,048 a sum of ones stands still.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.ones(1, 1, dtype=torch.float16, device="cuda", requires_grad=True)
tokens = torch.zeros(3000, 1, dtype=torch.int64, device="cuda")
bags = torch.nn.functional.embedding_bag(tokens, weight, mode="max")
bags.backward(torch.ones_like(bags))
got = str(weight.grad.item())
expected = "3000.0"
wrong = "2048.0"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
