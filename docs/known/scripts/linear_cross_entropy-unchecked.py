# F.linear_cross_entropy in chunks does not check that there is one target for each row: of more targets than rows it
# takes the first ones and divides by the number of all. Without options this is a ValueError.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

targets = torch.tensor([0, 1])  # for one row
options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=1)
try:
    loss = torch.nn.functional.linear_cross_entropy(torch.zeros(1, 1), torch.zeros(2, 1), targets, options=options)
    got = round(loss.item(), 4)
except (IndexError, RuntimeError, ValueError):
    got = "an error"
expected = "an error"
wrong = 0.3466  # log(2) / 2
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
