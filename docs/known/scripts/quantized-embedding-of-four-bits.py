# law:  A quantized layer gives what the layer gives that it was made of, within half a step of each row.
# case: QuantizedCase(num_embeddings=1, embedding_dim=16, bits=4, numel=1, length=1)
# got:  another shape
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import warnings
import torch.ao
import torch.ao.nn
import torch.ao.nn.quantized
import torch.ao.quantization

torch.set_num_threads(1)
weight = torch.full((32,), torch.nan).as_strided((1, 16), (16, 1), 8).copy_(torch.tensor([[1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12, 13, -14, 15, -16]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))


def quantized(weight, indices):
    kind = torch.nn.Embedding
    plain = kind.from_pretrained(weight, padding_idx=None)
    quantization = torch.ao.quantization
    config = quantization.float_qparams_weight_only_qconfig
    config = quantization.float_qparams_weight_only_qconfig_4bit
    given = (indices,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, in favour of another package
        narrow = from_float(plain, config)
        copied = nothing(narrow)
    value = copied(*given)
    return {"value": value, "as_before": torch.equal(narrow(*given), value)}


def from_float(plain, config):
    plain.qconfig = config
    narrow = torch.ao.nn.quantized
    return getattr(narrow, type(plain).__name__).from_float(plain)


def nothing(layer):
    return layer


seen = quantized(weight=weight, indices=indices)
got, expected, wrong = seen["value"].shape, (1, 16,), (1, 4,)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
