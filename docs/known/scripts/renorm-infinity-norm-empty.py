# With max_norm and norm_type=inf nn.Embedding refuses a table without columns, which it takes with every other
# norm_type above 0.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Embedding(1, 0, max_norm=1.0, norm_type=float("inf"))
try:
    got = layer(torch.tensor([0])).tolist()
except RuntimeError as error:
    got = f"RuntimeError: {error}".split(" because")[0]
expected = [[]]
wrong = "RuntimeError: linalg.vector_norm cannot compute the inf norm on an empty tensor"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
