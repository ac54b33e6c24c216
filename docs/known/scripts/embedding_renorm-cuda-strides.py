# On CUDA max_norm takes the stride of the rows for their width: of a transposed table the first column alone is
# measured and scaled.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weight = torch.tensor([[3.0, 4.0], [3.0, 4.0]], device="cuda").t().contiguous().t()
torch.nn.functional.embedding(torch.tensor([0, 1], device="cuda"), weight, max_norm=1.0)
got = str([[round(number, 2) for number in row] for row in weight.tolist()])
expected = str([[0.6, 0.8], [0.6, 0.8]])
wrong = str([[1.0, 4.0], [1.0, 4.0]])
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
