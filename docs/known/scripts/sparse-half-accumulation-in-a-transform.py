# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: TransformCase(num_embeddings=1, embedding_dim=1, transform='vjp_by_arguments', shape=(), sparse=True, dtype='float16')
# got:  raised NotImplementedError: "cadd_sparse" not implemented for 'Half'
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch._C
import torch._C._functorch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan, dtype=torch.float16).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((17,), torch.nan, dtype=torch.float16).as_strided((1,), (1,), 8).copy_(torch.tensor([-1]))
tangent = torch.full((17,), torch.nan, dtype=torch.float16).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[3]]))


def functional(flags):
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


def agree(*ways):
    """Whether all are the same tensor, as numbers and in kind."""
    dense = [way.to_dense() for way in ways]
    return all(
        type(a) is type(b) and a.dtype == b.dtype and a.layout == b.layout and torch.equal(x, dense[0])
        for a, b, x in zip(ways, (ways[0],) * len(ways), dense, strict=True)
    )


def vjp_by_arguments(look, at):
    def product(sent, table):
        return (look(table, at.indices) * sent).sum(), look(table, at.indices)

    one = torch.ones((), dtype=at.weight.dtype)
    total, pull, value = torch.func.vjp(product, at.upstream, at.weight, has_aux=True)  # type: ignore[misc]
    to_upstream, to_table = pull(one)
    again = pull(one)
    parts = torch.func.vjp(product, at.upstream, at.weight)[1]((one * 0, at.upstream))[1]
    same = agree(to_table, again[1], parts) and agree(to_upstream, again[0], value)
    return {"result": to_table, "agrees": same and agree(total, product(at.upstream, at.weight)[0])}


def transformed(weight, indices, upstream, tangent, flags):
    look = functional(flags)
    at = types.SimpleNamespace(weight=weight, indices=indices, upstream=upstream, tangent=tangent)
    at.all_dims, at.look_dims, at.out_dim = (None, None, None), (None, None, None)[:2], 0
    seen = vjp_by_arguments(look, at)
    result = seen["result"]
    return {
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        **seen,
    }


try:
    seen = transformed(weight=weight, indices=indices, upstream=upstream, tangent=tangent, flags={'sparse': True})
except Exception as error:
    if type(error).__name__ != 'NotImplementedError' or '"cadd_sparse" not implemented for \'Half\'' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
