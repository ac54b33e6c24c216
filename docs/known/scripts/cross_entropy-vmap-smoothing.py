# Under vmap cross_entropy raises if it has class weights, label_smoothing and reduction="mean" (the default): it calls
# masked_select. Without one of the three it works.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

loss = torch.nn.CrossEntropyLoss(weight=torch.ones(2), label_smoothing=0.5)
logits = torch.tensor([[[100.0, 0.0]], [[0.0, 100.0]]])
expected = [75.0, 25.0]
wrong = "vmap: Attempted to vmap over `mask` in torch.masked_select(self, mask)"
try:
    got = torch.vmap(loss)(logits, torch.tensor([[1], [1]])).tolist()
except RuntimeError as error:
    got = str(error)[: len(wrong)]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
