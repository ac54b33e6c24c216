# law:  However autograd is driven, each row's gradient is the sum of its tokens' upstream gradients.
# case: Case(num_embeddings=2, embedding_dim=1, shape=(), sparse=True, upstream_layout='strided', route='preset_zeros')
# got:  -665 nan, expected -665 0 (1 of 2 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((18,), torch.nan).as_strided((2, 1), (1, 1), 8).copy_(torch.tensor([[1], [-2]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((17,), torch.nan).as_strided((1,), (2,), 8).copy_(torch.tensor([-665]))


def functional(weight):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, sparse=True)


def preset_zeros(leaf, call, indices, upstream):
    preset = leaf.grad = torch.zeros_like(leaf)
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad}


def backward(weight, indices, upstream):
    leaf, call = functional(weight)
    leaf.requires_grad_()
    leaf.grad = None

    seen = preset_zeros(leaf, call, indices, upstream)
    return seen


seen = backward(weight=weight, indices=indices, upstream=upstream)
got, expected = seen["weight_grad"][1, 0], 0.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got != got else 2)
