# DistributedDataParallel(find_unused_parameters=True) raises in backward if the parameter that is not used is the
# weight of an nn.Embedding(sparse=True).
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(2, 1)
table.unused = torch.nn.Embedding(2, 1, sparse=True)
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
parallel = torch.nn.parallel.DistributedDataParallel(table, find_unused_parameters=True)
expected, wrong = [[1.0], [0.0]], "Expected sparse gradient to be defined."
try:
    parallel(torch.tensor([0])).sum().backward()
    got = table.weight.grad.tolist()
except RuntimeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
