# law:  Tokens behind the last offset get no gradient, and take nothing from the last bag's.
# case: BagCase(num_embeddings=1, embedding_dim=1, numel=1, bags=(1,), include_last_offset=True, trailing=1, indices=(0, 0), dtype='float64')
# got:  1146, expected 573
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan, dtype=torch.float64).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))
indices = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).fill_(0)
upstream = torch.full((17,), torch.nan, dtype=torch.float64).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[573]]))
offsets = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).copy_(torch.tensor([0, 1]))


def functional(weight):
    return weight, lambda indices, offsets=None, samples=None: torch.nn.functional.embedding_bag(
        indices, weight, offsets, per_sample_weights=samples, mode='sum', include_last_offset=True
    )


def backward_call(call, given, upstream):
    out = call(*given)
    out.backward(upstream)
    return {}


def bag(weight, indices, upstream, offsets=None):
    leaf, call = functional(weight)
    leaf.requires_grad_(True)
    given = (indices, offsets, None)
    leaves = [leaf] + ([])
    for tensor in leaves:
        tensor.grad = None

    seen = backward_call(call, given, upstream)
    seen["weight_grad"] = seen.get("weight_grad", leaf.grad)
    return seen


seen = bag(weight=weight, indices=indices, upstream=upstream, offsets=offsets)
got, expected, wrong = seen["weight_grad"][[0]][0, 0], 573.0, 1146.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
