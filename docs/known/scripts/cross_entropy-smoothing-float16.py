# cross_entropy with label_smoothing adds up the negative logarithms of all classes in float16 before it divides them by
# the number of classes: the sum for 10,000 equal classes, 92,103, is infinite in float16.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

logits = torch.zeros(1, 10_000, dtype=torch.float16)
got = torch.nn.functional.cross_entropy(logits, torch.tensor([0]), label_smoothing=0.1).item()
expected = 9.21  # the logarithm of 10,000, with any label_smoothing
wrong = float("inf")
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) < 0.05 else 1 if got == wrong else 2)
