# A lookup of a token outside a DTensor table that is sharded by rows gives zeros instead of an IndexError: each rank
# takes the token for one of the other's.
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

table = dtensor.distribute_tensor(torch.ones(4, 2), mesh, [dtensor.Shard(0)])
tokens = dtensor.distribute_tensor(torch.tensor([4]), mesh, [dtensor.Replicate()])
try:
    got = torch.nn.functional.embedding(tokens, table).full_tensor().tolist()
except IndexError:
    got = "IndexError"
expected = "IndexError"
wrong = [[0.0, 0.0]]
if rank == 0:
    print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
