# torch.export.save raises for a weight without elements that is a view: it saves the whole memory that the view is of.
import io
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.ones(2, 3)[:, :0])
program = torch.export.export(table, (torch.tensor([0]),))
try:
    torch.export.save(program, io.BytesIO())
    got = "no error"
except RuntimeError as error:
    got = f"RuntimeError: {error}"
expected = "no error"
wrong = "RuntimeError: numel: integer multiplication overflow"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
