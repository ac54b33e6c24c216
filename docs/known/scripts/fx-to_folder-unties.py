# What is imported from the folder that GraphModule.to_folder writes has a Parameter for each module of a tied weight.
import importlib
import sys
import tempfile

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3, bias=False))
model[1].weight = model[0].weight
with tempfile.TemporaryDirectory() as folder:
    torch.fx.symbolic_trace(model).to_folder(folder, "Tied")
    sys.path.insert(0, folder)
    got = len(list(importlib.import_module("module").Tied().parameters()))
expected = 1
wrong = 2
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
