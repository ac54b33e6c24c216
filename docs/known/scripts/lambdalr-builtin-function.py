# LambdaLR.state_dict() raises for a builtin function or method: it takes it for a callable object with a __dict__.
# Functions are documented not to be saved: None stands for them.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
factors = [1.0, 0.5, 0.25]
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factors.__getitem__)
try:
    got = scheduler.state_dict()["lr_lambdas"]
except AttributeError as error:
    got = f"AttributeError: {error}"
expected = [None]
wrong = "AttributeError: 'builtin_function_or_method' object has no attribute '__dict__'"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
