# law:  However autograd is driven, each row's gradient is the sum of its tokens' upstream gradients.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(1, 1), padding_idx=0, entry='module', route='per_sample')
# got:  -665, expected 0
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.nn.utils._per_sample_grad

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[0]]))
upstream = torch.full((17,), torch.nan).as_strided((1, 1, 1), (1, 1, 1), 8).copy_(torch.tensor([[[-665]]]))


def module(weight):
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, padding_idx=0)
    return layer.weight, layer


def per_sample(leaf, call, indices, upstream):
    value = torch.nn.utils._per_sample_grad.call_for_per_sample_grads(call)(indices)
    value.backward(upstream)
    grads = leaf.grad_sample  # type: ignore[attr-defined]
    return {"weight_grad": grads.sum(0)}


def backward(weight, indices, upstream):
    leaf, call = module(weight)
    leaf.requires_grad_()
    leaf.grad = None

    seen = per_sample(leaf, call, indices, upstream)
    return seen


seen = backward(weight=weight, indices=indices, upstream=upstream)
got, expected, wrong = seen["weight_grad"][0, 0], 0.0, -665.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
