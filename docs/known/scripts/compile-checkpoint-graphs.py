# If two compiled graphs fit the input of a checkpoint, the recomputation may take another one than forward did, which
# saves another number of tensors: backward raises.
import sys

import torch
from torch.utils.checkpoint import CheckpointError, checkpoint

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone

layer = torch.compile(lambda x: (x[:, :1] + x[0] + x[1]).sin(), backend="aot_eager")
x = torch.zeros(100, 4, requires_grad=True)
output = checkpoint(layer, x, use_reentrant=False)  # its graph is for 100 rows alone and saves three tensors
layer(torch.zeros(2, 4, requires_grad=True))  # its graph is for any number of rows and saves one tensor
expected, wrong = 1200.0, "A different number of tensors was saved during the original forward and recomputation."
try:
    output.sum().backward()
    got = x.grad.sum().item()
except CheckpointError as error:
    got = str(error).splitlines()[0].removeprefix("torch.utils.checkpoint: ")
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
