# A scripted nn.Embedding with max_norm rescales no row, neither in its result nor in its weight.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.tensor([[4.0]]), max_norm=2.0)
got = torch.jit.script(table)(torch.tensor([0])).item()
expected = 2.0
wrong = 4.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
