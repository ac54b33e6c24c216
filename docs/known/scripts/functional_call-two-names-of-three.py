# functional_call raises KeyError if a tensor that is tied under three names is given under two of them, although both
# are given the same tensor: it looks up all three names among those that are given.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

linear = torch.nn.Linear(2, 2, bias=False)
model = torch.nn.Sequential(linear, torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False))
model[1].weight = model[2].weight = linear.weight
weight = torch.eye(2) * 2
try:
    got = torch.func.functional_call(model, {"0.weight": weight, "1.weight": weight}, torch.ones(2)).tolist()
except KeyError as error:
    got = repr(error)
expected = [8.0, 8.0]
wrong = "KeyError('2.weight')"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
