# Adafactor raises for a parameter without elements, by whose number it divides; other optimizers step it.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.nn.Parameter(torch.zeros(0))
weight.grad = torch.zeros(0)
optimizer = torch.optim.Adafactor([weight])
try:
    optimizer.step()
    got = "no error"
except ZeroDivisionError as error:
    got = f"ZeroDivisionError: {error}"
expected = "no error"
wrong = "ZeroDivisionError: float division by zero"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
