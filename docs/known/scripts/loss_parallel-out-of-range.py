# Under loss_parallel() a target that is no class has a loss of zero and counts in the mean, where cross_entropy of
# plain tensors raises an error.
import sys

import torch
import torch.distributed as dist
import torch.distributed.tensor as dtensor
import torch.distributed.tensor.parallel

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
mesh = dist.init_device_mesh("cpu", (1,))
logits = dtensor.distribute_tensor(torch.zeros(2, 4), mesh, [dtensor.Shard(1)])
targets = torch.tensor([0, 4])  # there is no class 4
try:
    with dtensor.parallel.loss_parallel():
        got = round(torch.nn.functional.cross_entropy(logits, targets).full_tensor().item(), 4)
except (AssertionError, IndexError, RuntimeError, ValueError):
    got = "an error"
expected = "an error"
wrong = 0.6931  # the mean of log(4) and 0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
