# jacrev of jacrev of a lookup by int32 indices raises: the second derivative is gathered, and gather takes int64 alone.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

tokens = torch.tensor([1], dtype=torch.int32)
squares = torch.func.jacrev(torch.func.jacrev(lambda table: torch.nn.functional.embedding(tokens, table).square().sum()))
try:
    got = squares(torch.ones(2, 1)).flatten().tolist()
except RuntimeError as error:
    got = str(error)
expected = [0.0, 0.0, 0.0, 2.0]
wrong = "gather(): Expected dtype int64 for index"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
