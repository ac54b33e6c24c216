# law:  A quantized layer gives what the layer gives that it was made of, within half a step of each row.
# case: QuantizedCase(num_embeddings=1, embedding_dim=1, layer='bag', padding_idx=0)
# got:  2 2, expected 0 0 (2 of 2 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import warnings
import torch.ao
import torch.ao.nn
import torch.ao.nn.quantized
import torch.ao.quantization

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((20,), 1515870810).as_strided((4,), (1,), 8).fill_(0)
offsets = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).copy_(torch.tensor([0, 2]))


def quantized(weight, indices, offsets=None):
    kind = torch.nn.EmbeddingBag
    plain = kind.from_pretrained(weight, mode='sum', include_last_offset=False, padding_idx=0)
    quantization = torch.ao.quantization
    config = quantization.float_qparams_weight_only_qconfig
    given = (indices, offsets, None)
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


seen = quantized(weight=weight, indices=indices, offsets=offsets)
got, expected, wrong = seen["value"][0, 0], 0.0, 2.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
