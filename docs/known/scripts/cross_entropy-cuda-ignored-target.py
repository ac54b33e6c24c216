# On CUDA the mean loss of one target without a batch axis that is ignored is 0, and not NaN.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

logits = torch.zeros(2, device="cuda")
target = torch.tensor(-100, device="cuda")
got = str(torch.nn.functional.cross_entropy(logits, target).item())
expected = "nan"
wrong = "0.0"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
