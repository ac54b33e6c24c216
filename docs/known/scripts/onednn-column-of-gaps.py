# A bfloat16 matrix times a matrix of one column whose rows lie apart (a slice of one column): oneDNN reads the elements
# that follow the first one in memory, what lies between the rows with them.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.tensor([[1, 8], [2, 8], [3, 8], [4, 8], [5, 8], [6, 8]], dtype=torch.bfloat16)
tokens = torch.arange(6).repeat(200)
got = (torch.nn.functional.one_hot(tokens).bfloat16() @ table[:, :1])[:6, 0].tolist()
expected = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
wrong = [1.0, 8.0, 2.0, 8.0, 3.0, 8.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
