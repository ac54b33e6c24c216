# load_state_dict casts ASGD's eta and NAdam's mu_product, which are kept in float32, to the dtype of the parameter.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float16))
weight.grad = torch.ones(1, dtype=torch.float16)
optimizer = torch.optim.ASGD([weight], lr=0.1, lambd=0.0)
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
got = round(optimizer.state[weight]["eta"].item(), 6)  # by which the next step multiplies the gradient
expected = 0.1
wrong = 0.099976  # 0.1 in float16
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
