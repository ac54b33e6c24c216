# A product with a DTensor on a mesh of one rank raises IndexError: no way to shard it is found.
import sys

import torch
import torch.distributed.tensor as dtensor

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
mesh = torch.distributed.init_device_mesh("cpu", (1,))
rows, table = (dtensor.distribute_tensor(torch.ones(size, 2), mesh) for size in (1, 3))
try:
    got = torch.nn.functional.linear(rows, table).full_tensor().tolist()
except IndexError as error:
    got = str(error)
expected, wrong = [[2.0, 2.0, 2.0]], "list index out of range"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
