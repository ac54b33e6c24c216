# nn.EmbeddingBag exported with Dim.AUTO from a batch of several bags refuses a batch of one, by a guard on the number
# of offsets; nn.Embedding exported the same way takes it.
import sys

import torch
from torch.export import Dim, export

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bag = torch.nn.EmbeddingBag.from_pretrained(torch.tensor([[1.0]]), mode="sum")
example = torch.zeros(4, 4, dtype=torch.int64)
program = export(bag, (example,), dynamic_shapes=((Dim.AUTO, Dim.AUTO),))
try:
    got = program.module()(torch.zeros(1, 3, dtype=torch.int64)).tolist()
except AssertionError as error:
    got = f"AssertionError: {error}".split(":")[1].strip()
expected = [[3.0]]
wrong = "Guard failed"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
