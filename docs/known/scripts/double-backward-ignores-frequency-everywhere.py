# law:  Every derivative of a lookup is that of the linear map one_hot(i) W: a gradient Mᵀ G / c, a tangent A Ẇ, a Jacobian A ⊗ I, a Hessian of Σ G·W[i]² that is 2 MᵀGA; under vmap, each sample's own.
# case: TransformCase(num_embeddings=1, embedding_dim=1, transform='backward_twice', shape=(2,), scale_grad_by_freq=True)
# got:  3 3, expected 1.5 1.5 (2 of 2 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch._C
import torch._C._functorch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))
indices = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).fill_(0)
upstream = torch.full((18,), torch.nan).as_strided((2, 1), (1, 1), 8).copy_(torch.tensor([[-1], [-2]]))
tangent = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[3]]))


def functional(flags):
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


def backward_twice(look, at):
    table, sent = at.weight.detach().requires_grad_(), at.upstream.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(look(table, at.indices), table, sent, create_graph=True)
    (result,) = torch.autograd.grad(gradient, sent, at.tangent)
    return {"result": result}


def transformed(weight, indices, upstream, tangent, flags):
    look = functional(flags)
    at = types.SimpleNamespace(weight=weight, indices=indices, upstream=upstream, tangent=tangent)
    at.all_dims, at.look_dims, at.out_dim = (None, None, None), (None, None, None)[:2], 0
    seen = backward_twice(look, at)
    result = seen["result"]
    return {
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        **seen,
    }


seen = transformed(weight=weight, indices=indices, upstream=upstream, tangent=tangent, flags={'scale_grad_by_freq': True})
got, expected, wrong = seen["result"][0, 0], 1.5, 3.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if abs(got - wrong) <= 0.0015 else 2)
