# law:  Every derivative of a lookup is that of the linear map one_hot(i) W: a gradient Mᵀ G / c, a tangent A Ẇ, a Jacobian A ⊗ I, a Hessian of Σ G·W[i]² that is 2 MᵀGA; under vmap, each sample's own.
# case: TransformCase(num_embeddings=1, embedding_dim=1, transform='jacfwd_from_the_end', shape=(1,))
# got:  0, expected 1
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch._C
import torch._C._functorch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))
upstream = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[-1]]))
tangent = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[3]]))


def functional(flags):
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


def jacfwd_from_the_end(look, at):
    def looked(sent, table):
        return look(table, at.indices) + 0 * sent

    return {"result": torch.func.jacfwd(looked, argnums=-1)(at.upstream, at.weight)}


def transformed(weight, indices, upstream, tangent, flags):
    look = functional(flags)
    at = types.SimpleNamespace(weight=weight, indices=indices, upstream=upstream, tangent=tangent)
    at.all_dims, at.look_dims, at.out_dim = (None, None, None), (None, None, None)[:2], 0
    seen = jacfwd_from_the_end(look, at)
    result = seen["result"]
    return {
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        **seen,
    }


seen = transformed(weight=weight, indices=indices, upstream=upstream, tangent=tangent, flags={})
got, expected, wrong = seen["result"][0, 0, 0, 0], 1.0, 0.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
