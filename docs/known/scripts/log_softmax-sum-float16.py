# The logarithm of a softmax over the last axis is infinite where a float16 can't hold the sum of the exponentials.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

logits = torch.zeros(1, 128_000, dtype=torch.float16)
got = torch.nn.functional.cross_entropy(logits, torch.zeros(1, dtype=torch.int64)).item()
expected = 11.7578125  # the logarithm of 128,000 in float16
wrong = float("inf")
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 2**-7 else 1 if got == wrong else 2)
