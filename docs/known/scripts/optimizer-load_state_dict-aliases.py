# b.load_state_dict(a.state_dict()) lets two optimizers share one state: a step of b changes the momentum of a.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

p, q = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
(p + q).backward()
a = torch.optim.SGD([p], momentum=0.5)
b = torch.optim.SGD([q], momentum=0.5)
a.step()
b.load_state_dict(a.state_dict())
b.step()
got = a.state[p]["momentum_buffer"].item()
expected = 1.0  # a made one step, with gradient 1
wrong = 1.5
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
