# The backward pass of F.linear raises if the input is a DTensor of one dimension: its output has the shape (1, 3) where
# the local tensor has (3,).
import sys

import torch
import torch.distributed.tensor as dtensor

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
mesh = torch.distributed.init_device_mesh("cpu", (1,))
hidden = dtensor.distribute_tensor(torch.ones(2), mesh).requires_grad_()
output = torch.nn.functional.linear(hidden, dtensor.distribute_tensor(torch.ones(3, 2), mesh))
expected, wrong = [3.0, 3.0], "dimensionality of sizes (2) must match dimensionality of strides (1)"
try:
    output.full_tensor().sum().backward()
    got = hidden.grad.full_tensor().tolist()
except RuntimeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
