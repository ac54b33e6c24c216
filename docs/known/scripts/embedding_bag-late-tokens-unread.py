# With include_last_offset=True and mode="sum" F.embedding_bag accepts a token outside the table behind the last offset,
# where it is in no bag and is not read; with a float64 table it raises.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.tensor([[1.0]])
tokens = torch.tensor([0, 5])
offsets = torch.tensor([0, 1])  # one bag, of the first token
try:
    got = torch.nn.functional.embedding_bag(tokens, table, offsets, mode="sum", include_last_offset=True).tolist()
except (IndexError, RuntimeError):
    got = "an error"
expected = "an error"
wrong = [[1.0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
