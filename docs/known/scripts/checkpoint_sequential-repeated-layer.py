# checkpoint_sequential takes the layers of a Sequential from children(), which lists each module once: a layer that
# stands in it twice is called once.
import sys

import torch
import torch.utils.checkpoint

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

double = torch.nn.Linear(1, 1, bias=False)
torch.nn.init.constant_(double.weight, 2.0)
model = torch.nn.Sequential(double, double)
got = torch.utils.checkpoint.checkpoint_sequential(model, 1, torch.ones(1, 1), use_reentrant=False).item()
expected = 4.0  # model(torch.ones(1, 1))
wrong = 2.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
