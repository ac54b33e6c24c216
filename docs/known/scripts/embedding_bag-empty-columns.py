# embedding_bag raises for a batch of shape (B, 0), which is B empty bags, whose value is zero: it makes their offsets
# by arange with a step of 0.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bags = torch.nn.EmbeddingBag(3, 1)
try:
    got = bags(torch.zeros(2, 0, dtype=torch.int64)).tolist()
except RuntimeError as error:
    got = f"RuntimeError: {error}"
expected = [[0.0], [0.0]]
wrong = "RuntimeError: step must be nonzero"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
