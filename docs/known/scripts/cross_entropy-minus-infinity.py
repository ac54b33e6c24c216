# cross_entropy is NaN if a class has the logit -inf and the target distribution gives it no probability: 0 * -inf is
# added. With the index of a class as the target, or without the third class, the loss is finite.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

logits = torch.tensor([[0.0, 0.0, -torch.inf]])
target = torch.tensor([[0.5, 0.5, 0.0]])
got = f"{torch.nn.functional.cross_entropy(logits, target):.4f}"
expected = "0.6931"  # log 2
wrong = "nan"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
