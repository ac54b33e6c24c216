# One element along an axis of a DTensor can't be taken: aten.select.int has no sharding strategy.
import sys

import torch
import torch.distributed.tensor as dtensor

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
rows = dtensor.distribute_tensor(
    torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.distributed.init_device_mesh("cpu", (1,))
)
try:
    got = rows[0].full_tensor().tolist()
except NotImplementedError as error:
    got = str(error)
expected, wrong = [1.0, 2.0], "Operator aten.select.int does not have a sharding strategy registered."
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
