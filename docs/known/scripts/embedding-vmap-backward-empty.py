# jacrev of a lookup of no tokens raises: the batching rule of embedding_dense_backward loses the columns of the table.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

tokens = torch.tensor([], dtype=torch.int64)
try:
    jacobian = torch.func.jacrev(lambda weight: torch.nn.functional.embedding(tokens, weight))(torch.ones(2, 3))
    got = list(jacobian.shape)
except RuntimeError as error:
    got = str(error).partition(" but")[0]
expected = [0, 3, 2, 3]  # as jacfwd gives it
wrong = "Function EmbeddingBackward0 returned an invalid gradient at index 0 - got [2, 0]"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
