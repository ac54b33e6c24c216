# Muon raises for a matrix without columns, as it divides the number of rows by that of columns; without rows it steps.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.zeros(2, 0))
weight.grad = torch.zeros(2, 0)
optimizer = torch.optim.Muon([weight])
try:
    optimizer.step()
    got = "no error"
except ZeroDivisionError as error:
    got = f"ZeroDivisionError: {error}"
expected = "no error"
wrong = "ZeroDivisionError: division by zero"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
