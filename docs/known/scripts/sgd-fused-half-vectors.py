# SGD(fused=True) never updates bfloat16 and float16 parameters of at least one vector register's length (CPU).
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

p = torch.nn.Parameter(torch.zeros(64, dtype=torch.bfloat16))
p.grad = torch.ones(64, dtype=torch.bfloat16)
torch.optim.SGD([p], lr=1.0, fused=True).step()
got = p.unique().tolist()
expected = [-1.0]
wrong = [0.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
