# A compiled graph refuses retain_graph=True and create_graph=True, which eager takes, if its backward has been compiled
# before: with dynamic shapes, or by an earlier backward without them.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bag = torch.nn.EmbeddingBag(2, 1)
loss = torch.compile(bag, backend="aot_eager", dynamic=True)(torch.tensor([[0, 1]])).sum()
try:
    loss.backward(retain_graph=True)
    got = bag.weight.grad.tolist()
except RuntimeError as error:
    got = f"RuntimeError: {error}".split(" which")[0]
expected = [[0.5], [0.5]]
wrong = "RuntimeError: This backward function was compiled with non-empty donated buffers"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
