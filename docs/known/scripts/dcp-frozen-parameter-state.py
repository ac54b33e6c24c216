# set_optimizer_state_dict drops the saved state of a parameter whose requires_grad is False at that time.
import sys

import torch
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Linear(1, 1)
optimizer = torch.optim.Adam(model.parameters())
model(torch.ones(1)).backward()
optimizer.step()
model.weight.requires_grad_(False)
set_optimizer_state_dict(model, optimizer, get_optimizer_state_dict(model, optimizer))
got = list(get_optimizer_state_dict(model, optimizer)["state"])
expected = ["weight", "bias"]
wrong = ["bias"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
