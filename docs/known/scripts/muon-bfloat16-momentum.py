# Muon(nesterov=False) divides the momentum buffer of a bfloat16 parameter by its norm: .bfloat16() makes no copy of it,
# and the Newton-Schulz iteration begins with an in-place division.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

p = torch.nn.Parameter(torch.zeros(1, 2, dtype=torch.bfloat16))
p.grad = torch.tensor([[4.0, 0.0]], dtype=torch.bfloat16)
optimizer = torch.optim.Muon([p], momentum=0.5, nesterov=False)
optimizer.step()
got = optimizer.state[p]["momentum_buffer"].tolist()
expected = [[2.0, 0.0]]  # 0.5 * 0 + (1 - 0.5) * grad
wrong = [[1.0, 0.0]]  # divided by 2
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
