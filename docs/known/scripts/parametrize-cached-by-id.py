# parametrize.cached() keys its cache by the id() that a module had at registration, which a deepcopy brings along: a
# module and its copy get one weight.
import copy
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

first = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(1, 1))
second = copy.deepcopy(first)
first.weight = torch.tensor([[1.0]])
second.weight = torch.tensor([[2.0]])
with torch.nn.utils.parametrize.cached():
    got = [first.weight.item(), second.weight.item()]
expected = [1.0, 2.0]
wrong = [1.0, 1.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
