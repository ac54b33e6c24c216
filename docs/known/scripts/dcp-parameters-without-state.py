# set_optimizer_state_dict raises KeyError, with strict=False too, for a parameter that has had no gradient yet: the state
# that get_optimizer_state_dict gives has no entry of it.
import sys

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.5)
model[1](torch.ones(2)).sum().backward()
optimizer.step()
saved = get_optimizer_state_dict(model, optimizer)
optimizer.param_groups[0]["lr"] = 0.25
try:
    set_optimizer_state_dict(model, optimizer, saved, options=StateDictOptions(strict=False))
    got = optimizer.param_groups[0]["lr"]
except KeyError as error:
    got = repr(error)
expected = 0.5
wrong = "KeyError('0.weight')"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
