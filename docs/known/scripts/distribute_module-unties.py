# distribute_module makes a DTensor parameter for each name of a tied weight.
import sys

import torch
import torch.distributed.tensor

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
model = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3, bias=False))
model[1].weight = model[0].weight
torch.distributed.tensor.distribute_module(model, torch.distributed.init_device_mesh("cpu", (1,)))
got = len(list(model.parameters()))
expected = 1
wrong = 2
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
