# copy.deepcopy of a ScriptModule records the copying of its parameters: those of the copy are no leaves, and backward()
# through the copy fills the gradients of the original.
import copy
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

original = torch.jit.script(torch.nn.Embedding(2, 1))
copied = copy.deepcopy(original)
copied(torch.tensor([1])).sum().backward()
got = [copied.weight.is_leaf, original.weight.grad is not None]
expected = [True, False]
wrong = [False, True]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
