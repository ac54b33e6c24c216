# get_model_state_dict with ignore_frozen_params=True removes a frozen weight that is tied under its first name only.
import sys

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

model = torch.nn.Sequential(torch.nn.Embedding(2, 2), torch.nn.Linear(2, 2, bias=False))
model[1].weight = model[0].weight
model.requires_grad_(False)
got = list(get_model_state_dict(model, options=StateDictOptions(ignore_frozen_params=True)))
expected = []
wrong = ["1.weight"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
