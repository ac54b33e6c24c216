# fully_shard on CPUs adds the gradients of two ranks instead of averaging them.
import os
import sys
import tempfile

import torch
import torch.distributed.fsdp as fsdp

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

folder = tempfile.TemporaryDirectory()
rank = int(os.fork() == 0)  # the parent is rank 0, the child rank 1
torch.distributed.init_process_group("gloo", init_method=f"file://{folder.name}/store", rank=rank, world_size=2)
table = torch.nn.Embedding.from_pretrained(torch.tensor([[1.0], [2.0]]), freeze=False)
fsdp.fully_shard(table, mesh=torch.distributed.init_device_mesh("cpu", (2,)))
table(torch.tensor([0])).sum().backward()  # on each rank the gradient is 1
got = table.weight.grad.full_tensor().flatten().tolist()
expected = [1.0, 0.0]
wrong = [2.0, 0.0]
if rank == 0:
    print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
