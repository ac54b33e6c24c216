# Embedding.from_float makes its layer without the dtype: a table that was packed in four bits is read as eight bits.
import sys

import torch
from torch.ao.nn.quantized import Embedding
from torch.ao.quantization import float_qparams_weight_only_qconfig_4bit

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # exit 0: right, 1: this bug, 2: other

table = torch.nn.Embedding.from_pretrained(torch.ones(1, 16))
table.qconfig = float_qparams_weight_only_qconfig_4bit
got = tuple(Embedding.from_float(table)(torch.tensor([0])).shape)
expected = (1, 16)
wrong = (1, 4)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
