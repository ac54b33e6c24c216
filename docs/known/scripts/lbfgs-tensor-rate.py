# LBFGS keeps a tensor lr itself as the length of its last step: a scheduler that writes into lr changes it.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.ones(1))
weight.grad = weight.detach()  # of weight**2 / 2, at all times, since they share their memory
optimizer = torch.optim.LBFGS([weight], lr=torch.tensor(0.5), max_iter=1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
for _ in range(3):
    optimizer.step(lambda: weight.square().sum() / 2)
    scheduler.step()
got = weight.item()
expected = 0.1875  # as with lr=0.5: 1, 0.5, 0.25, 0.25 - 0.25 * 0.25
wrong = 0.21875  # the second step, with lr=0.5, is taken for one with lr=0.25
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
