# A compiled function can't take both an nn.Embedding(max_norm=...) and the tensor of which its weight was made, which
# shares its memory.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

rows = torch.tensor([[3.0, 4.0]])
table = torch.nn.Embedding.from_pretrained(rows, freeze=False, max_norm=10.0)
expected = [[6.0, 8.0]]
wrong = "AssertionError: aot_autograd() does not yet handle non-differentiable view input mutations."
try:
    got = torch.compile(lambda tokens: table(tokens) + rows, backend="aot_eager")(torch.tensor([0])).tolist()
except RuntimeError as error:
    got = str(error).splitlines()[1][: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
