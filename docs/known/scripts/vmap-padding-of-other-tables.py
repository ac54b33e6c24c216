# law:  Every derivative of a lookup is that of the linear map one_hot(i) W: a gradient Mᵀ G / c, a tangent A Ẇ, a Jacobian A ⊗ I, a Hessian of Σ G·W[i]² that is 2 MᵀGA; under vmap, each sample's own.
# case: TransformCase(num_embeddings=1, embedding_dim=1, transform='vmap_backward', shape=(1,), padding_idx=0, mapped=('weight', 'indices'))
# got:  0 -1, expected 0 0 (1 of 2 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch._C
import torch._C._functorch

torch.set_num_threads(1)
weight = torch.full((18,), torch.nan).as_strided((2, 1, 1), (1, 1, 1), 8).copy_(torch.tensor([[[1]], [[-2]]]))
indices = torch.full((18,), 1515870810).as_strided((2, 1), (1, 1), 8).fill_(0)
upstream = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[-1]]))
tangent = torch.full((18,), torch.nan).as_strided((2, 1, 1), (1, 1, 1), 8).copy_(torch.tensor([[[3]], [[2]]]))


def functional(flags):
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


def weighted(look):
    """⟨upstream, W[i]⟩ as a function of W, i and the upstream gradient."""
    return lambda table, tokens, sent: (look(table, tokens) * sent).sum()


def vmap_backward(look, at):
    table = at.weight.detach().requires_grad_()
    losses = torch.vmap(weighted(look), at.all_dims)(table, at.indices, at.upstream)
    losses.sum().backward()
    return {"result": table.grad}


def transformed(weight, indices, upstream, tangent, flags):
    look = functional(flags)
    at = types.SimpleNamespace(weight=weight, indices=indices, upstream=upstream, tangent=tangent)
    at.all_dims, at.look_dims, at.out_dim = (0, 0, None), (0, 0, None)[:2], 0
    seen = vmap_backward(look, at)
    result = seen["result"]
    return {
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        **seen,
    }


seen = transformed(weight=weight, indices=indices, upstream=upstream, tangent=tangent, flags={'padding_idx': 0})
got, expected, wrong = seen["result"][1, 0, 0], 0.0, -1.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
