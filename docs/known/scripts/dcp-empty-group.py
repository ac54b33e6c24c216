# set_optimizer_state_dict gives a group without parameters the options of the last group, and none if the group without
# parameters is not the last: its lr is gone.
import sys

import torch
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(1, 1)
optimizer = torch.optim.Adam([{"params": [], "lr": 0.5}, {"params": layer.parameters(), "lr": 0.25}])
state = get_optimizer_state_dict(layer, optimizer)
set_optimizer_state_dict(layer, optimizer, state)
got = [group.get("lr") for group in optimizer.param_groups]
expected = [0.5, 0.25]
wrong = [None, 0.25]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
