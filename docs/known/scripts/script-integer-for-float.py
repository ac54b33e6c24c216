# torch.jit.script refuses nn.Embedding(max_norm=5), whose attribute is an int where F.embedding takes a float.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

wrong = "Expected a value of type 'Optional[float]' for argument 'max_norm' but instead found type 'int'."
try:
    layer = torch.jit.script(torch.nn.Embedding(1, 2, max_norm=5))
    got = list(layer(torch.tensor([0])).shape)
except RuntimeError as error:
    got = wrong if wrong in str(error) else str(error)
expected = [1, 2]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
