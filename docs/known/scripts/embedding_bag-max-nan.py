# embedding_bag(mode="max") loses a NaN that follows a number, where torch.max propagates it.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bags = torch.nn.EmbeddingBag.from_pretrained(torch.tensor([[1.0], [torch.nan]]), mode="max")
got = str(bags(torch.tensor([[0, 1]])).item())
expected = "nan"
wrong = "1.0"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
