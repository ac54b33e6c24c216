# A quantized EmbeddingBag made from one with include_last_offset=True takes the last offset for a bag.
import sys

import torch

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

plain = torch.nn.EmbeddingBag(4, 4, mode="sum", include_last_offset=True)
plain.qconfig = torch.ao.quantization.float_qparams_weight_only_qconfig
quantized = torch.ao.nn.quantized.EmbeddingBag.from_float(plain)
got = tuple(quantized(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 3])).shape)
expected = (2, 4)
wrong = (3, 4)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
