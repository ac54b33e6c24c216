# clip_grad_norm_(norm_type=inf) raises if one of the gradients has no elements; the documented norm, that of all
# gradients as one vector, has a value.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

weights = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(0))]
weights[0].grad = torch.tensor([3.0, -4.0])
weights[1].grad = torch.zeros(0)
try:
    got = torch.nn.utils.clip_grad_norm_(weights, max_norm=1.0, norm_type=torch.inf).item()
except RuntimeError as error:
    got = str(error).partition(" because")[0]
expected = 4.0
wrong = "_foreach_norm cannot compute the infinity norm on an empty tensor"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
