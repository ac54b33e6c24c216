# linear_cross_entropy adds the losses and gradients of its chunks in bfloat16, where a sum of many terms stops growing:
# the mean of 4096 losses of log(2) is 0.125.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=2)
rows = torch.zeros(4096, 1, dtype=torch.bfloat16)
head = torch.zeros(2, 1, dtype=torch.bfloat16)
targets = torch.zeros(4096, dtype=torch.int64)
got = torch.nn.functional.linear_cross_entropy(rows, head, targets, options=options).item()
expected = 0.69140625  # log(2) in bfloat16, as without options
wrong = 0.125
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
