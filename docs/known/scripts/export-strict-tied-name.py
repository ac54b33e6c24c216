# torch.export.export(strict=True) leaves the second name of a tied weight out of the state dict: the model's own
# checkpoint can't be loaded into the exported module.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Sequential(torch.nn.Embedding(2, 2), torch.nn.Linear(2, 2, bias=False))
model[1].weight = model[0].weight
program = torch.export.export(model, (torch.tensor([0]),), strict=True)
got = sorted(program.module().state_dict())
expected = ["0.weight", "1.weight"]
wrong = ["0.weight"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
