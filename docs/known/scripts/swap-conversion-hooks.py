# With set_swap_module_params_on_conversion(True), module.double(), half(), to() and type() drop the hooks that were
# registered on the Parameters; without it they stay.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

got = []
layer = torch.nn.Linear(1, 1, bias=False)
layer.weight.register_hook(lambda gradient: got.append("hook"))
layer.weight.register_post_accumulate_grad_hook(lambda weight: got.append("post accumulate hook"))
torch.__future__.set_swap_module_params_on_conversion(True)
layer.double()
layer.weight.sum().backward()
expected = ["hook", "post accumulate hook"]
wrong = []
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
