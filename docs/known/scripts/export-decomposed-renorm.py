# run_decompositions() loses the no_grad() of max_norm: the program raises if the weight requires grad.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.tensor([[3.0, 4.0]]), freeze=False, max_norm=10.0)
program = torch.export.export(table, (torch.tensor([0]),)).run_decompositions()
expected = [[3.0, 4.0]]
wrong = "a leaf Variable that requires grad is being used in an in-place operation."
try:
    got = program.module()(torch.tensor([0])).tolist()
except RuntimeError as error:
    got = str(error)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
