# On CUDA weight_norm takes the root of a float64 norm in float32.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

layer = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64, device="cuda")
with torch.no_grad():
    layer.weight.copy_(torch.tensor([[1.0, 1.0, 0.0]]))
torch.nn.utils.parametrizations.weight_norm(layer)
error = abs(layer.weight[0, 0].item() - 1.0)
got = "float64" if error < 1e-14 else "float32" if error < 1e-6 else str(error)
expected = "float64"
wrong = "float32"
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
