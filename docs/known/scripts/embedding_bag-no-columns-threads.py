# An EmbeddingBag without columns raises with several threads, not with one: the check of the indices takes the tokens
# of one thread's bags for all tokens.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.set_num_threads(2)
bags = torch.nn.EmbeddingBag(1, 0, mode="sum")
try:
    got = list(bags(torch.tensor([[0], [0]])).shape)
except RuntimeError as error:
    got = str(error).partition(",")[0]
expected = [2, 0]
wrong = "Expected i < index_size to be true"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
