# Adding a coalesced sparse vector to a view that starts inside its storage counts the storage offset twice.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

x = torch.zeros(8)
x[3:5].add_(torch.tensor([1.0, 2.0]).to_sparse())
got = x.tolist()
expected = [0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0]
wrong = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0]  # x[6:8]; for x[4:6] it is memory behind x
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
