# law:  Every derivative of a lookup is that of the linear map one_hot(i) W: a gradient Mᵀ G / c, a tangent A Ẇ, a Jacobian A ⊗ I, a Hessian of Σ G·W[i]² that is 2 MᵀGA; under vmap, each sample's own.
# case: TransformCase(num_embeddings=1, embedding_dim=1, transform='vmap_by_names', shape=(), mapped=('indices',))
# got:  another shape
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch._C
import torch._C._functorch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))
indices = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).fill_(0)
upstream = torch.full((17,), torch.nan).as_strided((1,), (1,), 8).copy_(torch.tensor([-1]))
tangent = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[3]]))


def functional(flags):
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


def vmap_by_names(look, at):
    # The axes in the order of the arguments, and in another one: it is by their names that they belong together.
    table, tokens = at.look_dims
    given = {"tokens": at.indices, "beside": torch.zeros_like(at.indices, dtype=at.weight.dtype)}

    def mapped(axes):
        def call(weight, given):
            return look(weight, given["tokens"]) + given["beside"].sum()

        return torch.func.vmap(call, in_dims=(table, axes), out_dims=at.out_dim)(at.weight, given)

    plain = torch.func.vmap(look, at.look_dims, at.out_dim)(at.weight, at.indices)
    same = torch.equal(mapped({"tokens": tokens, "beside": None}), plain)
    return {"result": mapped({"beside": None, "tokens": tokens})}


def transformed(weight, indices, upstream, tangent, flags):
    look = functional(flags)
    at = types.SimpleNamespace(weight=weight, indices=indices, upstream=upstream, tangent=tangent)
    at.all_dims, at.look_dims, at.out_dim = (None, 0, None), (None, 0, None)[:2], 0
    seen = vmap_by_names(look, at)
    result = seen["result"]
    return {
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        **seen,
    }


seen = transformed(weight=weight, indices=indices, upstream=upstream, tangent=tangent, flags={})
got, expected, wrong = seen["result"].shape, (2, 1,), (2, 2, 1,)
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
