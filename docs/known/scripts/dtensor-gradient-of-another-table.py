# The gradient of a lookup in a DTensor has the shape of that of a taller table that was looked up before.
import sys

import torch
import torch.distributed.tensor as dtensor

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
mesh = torch.distributed.init_device_mesh("cpu", (1,))
tokens = dtensor.distribute_tensor(torch.tensor([0]), mesh)
try:
    for rows in (6, 3):
        table = dtensor.distribute_tensor(torch.ones(rows, 2), mesh).requires_grad_()
        torch.nn.functional.embedding(tokens, table).sum().backward()
    got = str(tuple(table.grad.shape))
except RuntimeError as error:
    got = str(error)
expected, wrong = "(3, 2)", "Function EmbeddingBackward0 returned an invalid gradient at index 0 - got [6, 2]"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got.startswith(wrong) else 2)
