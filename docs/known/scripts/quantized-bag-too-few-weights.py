# law:  A token outside the table, weights for too few tokens and offsets beyond the tokens are refused.
# case: QuantizedCase(num_embeddings=1, embedding_dim=1, layer='bag', weighted=True, mistake='too_few_weights')
# got:  accepted, expected RuntimeError or ValueError or IndexError
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
samples = torch.full((19,), torch.nan).as_strided((3,), (1,), 8).copy_(torch.tensor([-1, 0, 1]))


def quantized(weight, indices, offsets=None, samples=None):
    kind = torch.nn.EmbeddingBag
    plain = kind.from_pretrained(weight, mode='sum', include_last_offset=False, padding_idx=None)
    quantization = torch.ao.quantization
    config = quantization.float_qparams_weight_only_qconfig
    given = (indices, offsets, samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, in favour of another package
        narrow = from_float(plain, config)
        copied = nothing(narrow)
    value = copied(*given)
    return {"as_before": torch.equal(narrow(*given), value)}


def from_float(plain, config):
    plain.qconfig = config
    narrow = torch.ao.nn.quantized
    return getattr(narrow, type(plain).__name__).from_float(plain)


def nothing(layer):
    return layer


try:
    seen = quantized(weight=weight, indices=indices, offsets=offsets, samples=samples)
except (RuntimeError, ValueError, IndexError) as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected RuntimeError or ValueError or IndexError")
sys.exit(1)
