# An exported program that is saved and loaded has two Parameters for a tied weight.
import io
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3, bias=False))
model[1].weight = model[0].weight
memory = io.BytesIO()
torch.export.save(torch.export.export(model, (torch.tensor([0]),)), memory)
memory.seek(0)
got = len(list(torch.export.load(memory).module().parameters()))
expected = 1  # as before it was saved
wrong = 2
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
