# Adagrad ignores the initial_accumulator_value of a parameter group and starts from that of the constructor.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.Adagrad([{"params": [weight], "initial_accumulator_value": 0.25}])
got = optimizer.state[weight]["sum"].item()
expected = 0.25
wrong = 0.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
