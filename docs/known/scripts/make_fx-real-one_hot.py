# make_fx with tracing_mode="real" can't trace F.one_hot, which reads the largest and the smallest index; with
# tracing_mode="fake" it can.
import sys

import torch
from torch.fx.experimental.proxy_tensor import make_fx

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

tokens = torch.tensor([1])
try:
    graph = make_fx(lambda given: torch.nn.functional.one_hot(given, 3), tracing_mode="real")(tokens)
    got = graph(tokens).tolist()
except RuntimeError as error:
    got = f"RuntimeError: {error}".split(" with")[0]
expected = [[0, 1, 0]]
wrong = "RuntimeError: It appears that you're trying to get value out of a tracing tensor"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
