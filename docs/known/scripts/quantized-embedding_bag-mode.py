# The quantized EmbeddingBag gives the sum, whatever the mode of the layer it was made from.
import sys

import torch
from torch.ao.nn.quantized import EmbeddingBag
from torch.ao.quantization import float_qparams_weight_only_qconfig

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bags = torch.nn.EmbeddingBag.from_pretrained(torch.ones(1, 1), mode="mean")
bags.qconfig = float_qparams_weight_only_qconfig
got = round(EmbeddingBag.from_float(bags)(torch.tensor([[0, 0]])).item(), 3)
expected = 1.0
wrong = 2.0
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
