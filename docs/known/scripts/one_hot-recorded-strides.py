# F.one_hot that make_fx has recorded gives a tensor whose strides follow those of the index, where F.one_hot itself
# gives a contiguous one.
import sys

import torch
from torch.fx.experimental.proxy_tensor import make_fx

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

tokens = torch.zeros(3, 2, dtype=torch.int64).t()
graph = make_fx(lambda given: torch.nn.functional.one_hot(given, 3), tracing_mode="fake")(tokens)
got = graph(tokens).stride()
expected = (9, 3, 1)  # as of torch.nn.functional.one_hot(tokens, 3)
wrong = (3, 6, 1)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
