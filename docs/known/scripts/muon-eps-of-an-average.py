# Muon keeps an average of the gradients, (1 - momentum) * grad + momentum * B, and not the sum that is documented: where
# eps is above its norm, the first update is divided by eps, and so is (1 - momentum) times what it should be.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

p = torch.nn.Parameter(torch.zeros(1, 2))
p.grad = torch.tensor([[4.0, 0.0]])
flags = {"lr": 1.0, "weight_decay": 0.0, "ns_steps": 1, "ns_coefficients": (1.0, 0.0, 0.0)}
torch.optim.Muon([p], momentum=0.5, nesterov=False, eps=8.0, **flags).step()
got = p.tolist()
expected = [[-0.5, 0.0]]  # grad / eps
wrong = [[-0.25, 0.0]]  # (1 - 0.5) * grad / eps
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
