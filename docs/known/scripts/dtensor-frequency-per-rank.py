# With scale_grad_by_freq=True and tokens sharded over two ranks, each rank divides by the number of times that a token
# occurs among its own tokens, instead of in the mini-batch, which is the whole DTensor.
import sys
import tempfile

import torch
import torch.distributed as dist
import torch.distributed.tensor as dtensor

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other


def work(rank, folder, got):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    mesh = dist.init_device_mesh("cpu", (2,))
    table = dtensor.distribute_tensor(torch.ones(1, 1), mesh, [dtensor.Replicate()]).requires_grad_()
    tokens = dtensor.distribute_tensor(torch.tensor([0, 0]), mesh, [dtensor.Shard(0)])  # one token on each rank
    rows = torch.nn.functional.embedding(tokens, table, scale_grad_by_freq=True)
    rows.full_tensor().sum().backward()
    got[rank] = table.grad.full_tensor().item()


got = torch.zeros(2).share_memory_()
with tempfile.TemporaryDirectory() as folder:
    torch.multiprocessing.start_processes(work, (folder, got), 2, start_method="fork")
got = got.tolist()
expected = [1.0, 1.0]  # on both ranks: two tokens, each 1 / 2
wrong = [2.0, 2.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
