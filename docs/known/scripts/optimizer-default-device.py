# RMSprop makes its step count on torch's default device, wherever the parameter is: on the meta device it has no value.
# So do most optimizers but Adam, some of which fail in their first step.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.set_default_device("meta")
weight = torch.nn.Parameter(torch.ones(1, device="cpu"))
weight.grad = torch.ones(1, device="cpu")
optimizer = torch.optim.RMSprop([weight])
optimizer.step()
got = optimizer.state[weight]["step"].device.type
expected = "cpu"
wrong = "meta"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
