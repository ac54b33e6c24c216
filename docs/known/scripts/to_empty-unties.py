# Module.to_empty() of a model on meta makes a new Parameter for each name of a tied weight.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

with torch.device("meta"):
    model = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3, bias=False))
model[1].weight = model[0].weight
got = len(list(model.to_empty(device="cpu").parameters()))
expected = 1
wrong = 2
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
