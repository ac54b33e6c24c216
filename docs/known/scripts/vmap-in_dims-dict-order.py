# torch.vmap matches a dict of in_dims with a dict of arguments by position instead of by key: where the keys stand in
# another order, another argument is mapped.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

scaled = torch.vmap(lambda given: given["x"] * given["scale"].sum(), in_dims=({"scale": None, "x": 0},))
got = scaled({"x": torch.tensor([1.0, 2.0]), "scale": torch.tensor([10.0, 20.0])}).tolist()
expected = [30.0, 60.0]
wrong = [[10.0, 20.0], [20.0, 40.0]]  # scale was mapped instead of x
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
