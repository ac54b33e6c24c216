# law:  A row's gradient is the sum of its bags' gradients, times the weights, divided by a mean's number and by the row's count if asked; padding and rows that no bag holds get 0.
# case: BagCase(num_embeddings=2, embedding_dim=1, numel=3, bags=(3,), indices=(0, 0, 1), scale_grad_by_freq=True)
# got:  573 286.5, expected 573 573 (1 of 2 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((18,), torch.nan).as_strided((2, 1), (1, 1), 8).copy_(torch.tensor([[1], [-2]]))
indices = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([0, 0, 1]))
upstream = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[573]]))
offsets = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))


def functional(weight):
    return weight, lambda indices, offsets=None, samples=None: torch.nn.functional.embedding_bag(
        indices, weight, offsets, per_sample_weights=samples, mode='sum', scale_grad_by_freq=True
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
got, expected, wrong = seen["weight_grad"][1, 0], 573.0, 286.5
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if abs(got - wrong) <= 0.2865 else 2)
