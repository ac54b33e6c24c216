# F.embedding_bag takes offsets of int16, uint8 or bool if the tokens are int or long (and the other way round), where
# both "have to be of the same type, either int or long".
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.tensor([[1.0], [2.0]])
tokens = torch.tensor([0, 1])
offsets = torch.tensor([0], dtype=torch.int16)
try:
    got = torch.nn.functional.embedding_bag(tokens, table, offsets).tolist()
except RuntimeError:
    got = "RuntimeError"
expected = "RuntimeError"
wrong = [[1.5]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
