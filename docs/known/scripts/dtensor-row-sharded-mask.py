# A lookup in a DTensor table sharded by rows gives wrong numbers if it is transposed before it is reduced: each rank
# zeroes the tokens of the other by a mask over the first axis, which is no longer that of the tokens.
import os
import sys
import tempfile

import torch
import torch.distributed.tensor as dtensor

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

folder = tempfile.TemporaryDirectory()
rank = int(os.fork() == 0)  # the parent is rank 0, the child rank 1
torch.distributed.init_process_group("gloo", init_method=f"file://{folder.name}/store", rank=rank, world_size=2)
mesh = torch.distributed.init_device_mesh("cpu", (2,))

table = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
table = dtensor.distribute_tensor(table, mesh, [dtensor.Shard(0)])
tokens = dtensor.distribute_tensor(torch.tensor([0, 3]), mesh, [dtensor.Replicate()])
got = torch.nn.functional.embedding(tokens, table).T.full_tensor().tolist()
expected = [[1.0, 7.0], [2.0, 8.0]]
wrong = [[1.0, 1.0], [6.0, 8.0]]
if rank == 0:
    print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
