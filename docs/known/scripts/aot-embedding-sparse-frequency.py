# nn.Embedding(sparse=True, scale_grad_by_freq=True) is refused in backward; under torch.compile, which records backward
# before it runs forward, it is refused in forward.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.compile(torch.nn.Embedding(1, 1, sparse=True, scale_grad_by_freq=True), backend="aot_eager")
try:
    got = list(layer(torch.tensor([0])).shape)  # forward alone
except RuntimeError as error:
    got = str(error).split("RuntimeError: ")[1].splitlines()[0]
expected = [1, 1]
wrong = "embedding_backward: scale_grad_by_freq not supported with sparse gradients"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
