# F.linear_cross_entropy with options divides by in_features when it chooses the size of a chunk: in_features=0, of a
# layer that has nothing but a bias, is a ZeroDivisionError. Without options the loss comes out.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

targets = torch.tensor([0, 1, 0])
options = torch.nn.LinearCrossEntropyOptions()
try:
    loss = torch.nn.functional.linear_cross_entropy(torch.zeros(3, 0), torch.zeros(2, 0), targets, options=options)
    got = round(loss.item(), 4)
except ZeroDivisionError:
    got = "ZeroDivisionError"
expected = 0.6931  # log(2), which options=None gives
wrong = "ZeroDivisionError"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
