# The decomposition of aten.embedding takes a negative index and gives a row counted from the end, where aten.embedding
# itself raises an error.
import sys

import torch
from torch._decomp import get_decompositions

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.tensor([[1.0], [2.0]]))
program = torch.export.export(table, (torch.tensor([[0]]),))
program = program.run_decompositions(get_decompositions([torch.ops.aten.embedding]))
try:
    got = program.module()(torch.tensor([[-1]])).item()
except (IndexError, RuntimeError):
    got = "an error"
expected = "an error"
wrong = 2.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
