# nn.Embedding(max_norm=..., sparse=True) can't be compiled for an index of no dimensions.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.tensor([[3.0, 4.0]]), freeze=False, max_norm=10.0, sparse=True)
expected = [3.0, 4.0]
wrong = "RuntimeError: The tensor has a non-zero number of elements, but its data is not allocated yet."
try:
    got = torch.compile(table, backend="aot_eager")(torch.tensor(0)).tolist()
except RuntimeError as error:
    got = str(error).splitlines()[1][: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
