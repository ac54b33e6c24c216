# torch.fx.symbolic_trace registers a buffer that is not persistent as a persistent one: the state dict of the
# GraphModule has a key that the state dict of the model has not.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scratch", torch.ones(1), persistent=False)

    def forward(self, x):
        return x + self.scratch


got = list(torch.fx.symbolic_trace(Model()).state_dict())
expected = []
wrong = ["scratch"]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
