# torch.nn.init.sparse_ draws the places of the zeros from the default generator instead of the one that it is given.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

torch.manual_seed(0)
first = torch.nn.init.sparse_(torch.empty(4, 4), 0.5, generator=torch.Generator().manual_seed(1))
second = torch.nn.init.sparse_(torch.empty(4, 4), 0.5, generator=torch.Generator().manual_seed(1))
got = "the same zeros" if torch.equal(first == 0, second == 0) else "different zeros"
expected = "the same zeros"
wrong = "different zeros"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
