# load_state_dict(assign=True) writes assign into the metadata of the state dict that it is given: if another module
# loads this state dict later, without assign, the two modules share memory.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

source, first, second = (torch.nn.Linear(1, 1, bias=False) for _ in range(3))
torch.nn.init.zeros_(source.weight)
state = source.state_dict()
first.load_state_dict(state, assign=True)
second.load_state_dict(state)
torch.nn.init.ones_(first.weight)
got = second.weight.item()
expected = 0.0
wrong = 1.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
