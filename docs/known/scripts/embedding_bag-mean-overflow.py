# embedding_bag(mode="mean") rounds the sum to float16 before it divides, so that it overflows.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bags = torch.nn.EmbeddingBag.from_pretrained(torch.tensor([[60000.0]], dtype=torch.float16), mode="mean")
got = bags(torch.tensor([[0, 0]])).item()
expected = 60000.0
wrong = torch.inf
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
