# Module.share_memory() moves the gradients to shared memory, too, and raises if one is sparse.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding(2, 1, sparse=True)
table(torch.tensor([0])).sum().backward()
expected = True
wrong = "Cannot access storage of SparseTensorImpl"
try:
    got = table.share_memory().weight.is_shared()
except NotImplementedError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
