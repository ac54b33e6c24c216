# A flattened optimizer state in which a parameter has no state, because it had no gradient yet, can't be set, not even
# with strict=False: the missing numbers are taken for empty dictionaries.
import sys

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(1, 1)
optimizer = torch.optim.Adam(layer.parameters())
layer.weight.grad = torch.ones(1, 1)
optimizer.step()
optimizer.zero_grad()
options = StateDictOptions(flatten_optimizer_state_dict=True, strict=False)
state = get_optimizer_state_dict(layer, optimizer, options=options)
other = torch.optim.Adam(layer.parameters())
expected, wrong = 1.0, "float() argument must be a string or a"
try:
    set_optimizer_state_dict(layer, other, state, options=options)
    got = other.state[layer.weight]["step"].item()
except TypeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
