# Under fully_shard max_norm rescales the rows of the gathered table only: the sharded parameter stays as it was.
import sys

import torch
import torch.distributed as dist
import torch.distributed.fsdp as fsdp

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
table = torch.nn.Embedding.from_pretrained(torch.tensor([[4.0]]), freeze=False, max_norm=2.0)
fsdp.fully_shard(table, mesh=dist.init_device_mesh("cpu", (1,)))
table(torch.tensor([0])).sum().backward()
got = table.weight.full_tensor().item()
expected = 2.0
wrong = 4.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
