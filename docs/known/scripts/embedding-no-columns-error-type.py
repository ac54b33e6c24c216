# Of a table without columns an index outside it raises RuntimeError, where it raises IndexError of every other table.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Embedding(1, 0)
try:
    got = layer(torch.tensor([1])).tolist()
except (IndexError, RuntimeError) as error:
    got = f"{type(error).__name__}: {error}".split(",")[0]
expected = "IndexError: index out of range in self"
wrong = "RuntimeError: INDICES element is out of DATA bounds"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
