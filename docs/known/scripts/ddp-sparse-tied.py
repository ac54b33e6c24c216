# DistributedDataParallel expects a sparse gradient for the weight of an nn.Embedding(sparse=True), but if the weight is
# tied to a linear layer its gradient is dense: backward raises.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Sequential(torch.nn.Embedding(2, 1, sparse=True), torch.nn.Linear(1, 2, bias=False))
model[1].weight = model[0].weight
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
parallel = torch.nn.parallel.DistributedDataParallel(model)
expected, wrong = (2, 1), "Expected variable to have sparse gradient."
try:
    parallel(torch.tensor([0])).sum().backward()
    got = tuple(model[0].weight.grad.shape)
except RuntimeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
