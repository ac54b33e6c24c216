# Under loss_parallel the backward pass of cross_entropy with class weights takes ignore_index for an index into them.
import sys

import torch
import torch.distributed.tensor as dtensor
import torch.distributed.tensor.parallel

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
mesh = torch.distributed.init_device_mesh("cpu", (1,))
logits = dtensor.distribute_tensor(torch.zeros(2, 2), mesh, [dtensor.Shard(1)]).requires_grad_()
expected, wrong = [[0.5, -0.5], [0.0, 0.0]], "index -100 is out of bounds for dimension 1 with size 2"
try:
    with dtensor.parallel.loss_parallel():
        torch.nn.functional.cross_entropy(logits, torch.tensor([1, -100]), torch.ones(2)).backward()
    got = logits.grad.full_tensor().tolist()
except RuntimeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
