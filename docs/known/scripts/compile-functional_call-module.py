# torch.compile can't compile functional_call in torch 2.4.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other


layer = torch.nn.Embedding(2, 1)


def look(tokens, weight):
    return torch.func.functional_call(layer, {"weight": weight}, (tokens,))


expected, wrong = "[[5.0]]", "Unsupported"
try:
    compiled = torch.compile(look, backend="eager", fullgraph=True)
    got = str(compiled(torch.tensor([1]), torch.tensor([[4.0], [5.0]])).tolist())
except Exception as error:
    got = type(error).__name__
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
