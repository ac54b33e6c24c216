# The mean of float16 losses on the CPU is a float16 sum divided by a float16 count, and the count of 70,000 targets is
# infinite in float16.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

logits = torch.zeros(70_000, 2, dtype=torch.float16)
targets = torch.zeros(70_000, dtype=torch.int64)
got = torch.nn.functional.cross_entropy(logits, targets).item()
expected = 0.693359375  # the logarithm of 2 in float16
wrong = 0.0  # 48,535 / infinity
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
