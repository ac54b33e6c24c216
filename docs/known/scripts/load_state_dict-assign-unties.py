# load_state_dict(assign=True) makes a Parameter for each name of a tied weight: a tied model that loads its own state
# dict has two Parameters over one memory, and Adam steps the weight twice.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Sequential(torch.nn.Embedding(1, 1), torch.nn.Linear(1, 1, bias=False))
model[1].weight = model[0].weight
torch.nn.init.ones_(model[0].weight)
model.load_state_dict(model.state_dict(), assign=True)
model(torch.tensor([0])).sum().backward()
torch.optim.Adam(model.parameters(), lr=0.25).step()  # the first step of Adam moves a weight by lr
got = [len(list(model.parameters())), round(model[0].weight.item(), 4)]
expected = [1, 0.75]
wrong = [2, 0.5]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
