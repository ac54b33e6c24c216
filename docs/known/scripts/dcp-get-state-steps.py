# get_optimizer_state_dict of an optimizer without state takes a step with zero gradients, whose traces stay in it.
import sys

import torch
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Linear(1, 1, bias=False)
optimizer = torch.optim.Adam(model.parameters())
get_optimizer_state_dict(model, optimizer)
got = [state["step"].item() for state in optimizer.state.values()]
expected = []
wrong = [1.0]  # the bias correction of the next step is that of the second one
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
