# Traced by make_fx with fake tensors (also under torch.vmap, and of a DTensor) F.one_hot checks no input: a class outside
# [0, num_classes) gives a row of zeros instead of an error.
import sys

import torch
import torch.fx.experimental.proxy_tensor as proxy_tensor

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

classes = torch.tensor([1, 3])  # there is no class 3
encode = lambda index: torch.nn.functional.one_hot(index, num_classes=3)  # noqa: E731
try:
    got = proxy_tensor.make_fx(encode, tracing_mode="fake")(classes)(classes).tolist()
except RuntimeError as error:
    got = type(error).__name__
expected = "RuntimeError"  # Class values must be smaller than num_classes.
wrong = [[0, 1, 0], [0, 0, 0]]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
