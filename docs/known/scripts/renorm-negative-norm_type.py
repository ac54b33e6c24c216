# With a negative norm_type powers of the smallest numbers overflow, so that nn.Embedding takes the norm of a row for 0
# and does not rescale it, though it is over max_norm.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

tiny = 2.0**-140  # 1 / tiny is over the largest float32
layer = torch.nn.Embedding.from_pretrained(torch.tensor([[tiny, tiny]]), max_norm=0.0, norm_type=-1.0)
got = layer(torch.tensor([0])).tolist()
expected = [[0.0, 0.0]]
wrong = [[2.0**-140, 2.0**-140]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
