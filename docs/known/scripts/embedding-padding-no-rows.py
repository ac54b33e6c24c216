# padding_idx=0 is never compared with num_embeddings=0: nn.Embedding fails when it zeroes the row, where padding_idx=1
# and -1 raise "Padding_idx must be within num_embeddings".
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

try:
    got = repr(torch.nn.Embedding(0, 1, padding_idx=0))
except (AssertionError, IndexError) as error:
    got = f"{type(error).__name__}: {error}"
expected = "AssertionError: Padding_idx must be within num_embeddings"
wrong = "IndexError: index 0 is out of bounds for dimension 0 with size 0"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
