# A product of a DTensor with an axis of size 0 raises 'integer modulo by zero' in view_groups, which works out how a
# view is sharded; for the shape (0, 2, 3) it never ends.
import sys

import torch
import torch.distributed.tensor as dtensor

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
mesh = torch.distributed.init_device_mesh("cpu", (1,))
try:
    got = (
        dtensor.distribute_tensor(torch.ones(2, 0, 3), mesh) @ dtensor.distribute_tensor(torch.ones(3, 1), mesh)
    ).shape
except (RuntimeError, ZeroDivisionError) as error:
    got = str(error).splitlines()[0]
expected = (2, 0, 1)
wrong = "integer modulo by zero"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
