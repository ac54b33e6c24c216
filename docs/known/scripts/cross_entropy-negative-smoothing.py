# F.cross_entropy takes a negative label_smoothing for 0, where one above 1 raises "label_smoothing must be between 0.0
# and 1.0".
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

logits = torch.tensor([[0.0, 0.0, 2.0]])
target = torch.tensor([2])
try:
    got = round(torch.nn.functional.cross_entropy(logits, target, label_smoothing=-0.5).item(), 4)
except (RuntimeError, ValueError):
    got = "an error"
expected = "an error"
wrong = 0.2395  # the loss without label_smoothing
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
