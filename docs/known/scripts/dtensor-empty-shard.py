# F.embedding of a DTensor that is sharded by rows raises on a rank that has no rows: 4 rows on 3 ranks are split into
# 2, 2 and 0.
import sys

import torch
import torch.distributed.tensor as dtensor
from torch.testing._internal.distributed.fake_pg import FakeStore

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.distributed.init_process_group("fake", store=FakeStore(), rank=2, world_size=3)  # this is the last rank
mesh = torch.distributed.init_device_mesh("cpu", (3,))
table = dtensor.distribute_tensor(torch.ones(4, 2), mesh, [dtensor.Shard(0)])
expected, wrong = (1, 2), "index_select(): self indexing axis dim should be positive"
try:
    got = tuple(torch.nn.functional.embedding(dtensor.distribute_tensor(torch.tensor([0]), mesh), table).shape)
except RuntimeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
