# If GradScaler skips the first step of SGD(fused=True, momentum=...), since the gradient is infinite, the next step
# takes uninitialised memory for the momentum.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.use_deterministic_algorithms(True)  # fills uninitialised memory with NaN
weight = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.5, fused=True)
scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
for loss in (weight.sum() * torch.inf, weight.sum()):
    weight.grad = torch.autograd.grad(scaler.scale(loss), weight)[0]
    scaler.step(optimizer)
    scaler.update()
got = str(weight.item())
expected, wrong = "0.0", "nan"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
