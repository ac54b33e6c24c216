# set_optimizer_state_dict matches the groups of an optimizer that has no state by their positions, not by the names of
# their parameters: groups that are listed in another order get each other's lr.
import sys

import torch
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Linear(1, 1)
saved = torch.optim.SGD([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.2}])
loaded = torch.optim.SGD([{"params": [model.bias]}, {"params": [model.weight]}])
set_optimizer_state_dict(model, loaded, get_optimizer_state_dict(model, saved))
got = [group["lr"] for group in loaded.param_groups]
expected = [0.2, 0.1]  # bias, weight
wrong = [0.1, 0.2]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
