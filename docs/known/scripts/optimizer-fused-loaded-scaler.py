# GradScaler.step raises for an optimizer with fused=True that loaded the state of one without: it is fused no more, but
# still says that it unscales gradients by itself.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
optimizer.load_state_dict(torch.optim.SGD([weight], lr=1.0).state_dict())
scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
scaler.scale(weight.sum()).backward()
try:
    scaler.step(optimizer)
    got = weight.item()
except AssertionError as error:
    got = str(error)
expected, wrong = 0.0, "Expected grad_scale and found_inf to be None"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
