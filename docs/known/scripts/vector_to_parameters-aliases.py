# vector_to_parameters is documented to copy slices of the vector, but makes each parameter a view of the vector.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(2, 1, bias=False)
vector = torch.zeros(2)
torch.nn.utils.vector_to_parameters(vector, layer.parameters())
torch.nn.init.ones_(layer.weight)
got = vector.tolist()
expected = [0.0, 0.0]
wrong = [1.0, 1.0]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
