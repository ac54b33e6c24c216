# The quantized EmbeddingBag with include_last_offset=True loses the last bag of a two-dimensional input, for which
# torch.nn.EmbeddingBag ignores include_last_offset.
import sys

import torch
from torch.ao.nn.quantized import EmbeddingBag
from torch.ao.quantization import float_qparams_weight_only_qconfig

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

bags = torch.nn.EmbeddingBag.from_pretrained(torch.ones(1, 1), mode="sum", include_last_offset=True)
bags.qconfig = float_qparams_weight_only_qconfig
got = len(EmbeddingBag.from_float(bags)(torch.tensor([[0], [0], [0]])))
expected = 3
wrong = 2
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
