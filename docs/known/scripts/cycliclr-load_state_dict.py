# CyclicLR.load_state_dict removes a key from the dictionary that it is given, so that the same state can't be loaded a
# second time: KeyError.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.5, max_lr=1.5)
state = scheduler.state_dict()
keys = set(state)
scheduler.load_state_dict(state)
got = sorted(keys - set(state))  # what is missing now
expected = []
wrong = ["_scale_fn_custom"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
