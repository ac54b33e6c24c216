# append() on a slice of a Sequential overwrites a module of the slice, which keeps the names "1" and "2" while append()
# takes the length, 2, for the next name.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Tanh())
tail = model[1:].append(torch.nn.Sigmoid())
got = [type(module).__name__ for module in tail]
expected = ["ReLU", "Tanh", "Sigmoid"]
wrong = ["ReLU", "Sigmoid"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
