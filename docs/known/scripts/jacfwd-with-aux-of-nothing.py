# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: TransformCase(num_embeddings=1, embedding_dim=0, transform='jacfwd_by_arguments', shape=(1,))
# got:  raised IndexError: index 0 is out of bounds for dimension 0 with size 0
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch._C
import torch._C._functorch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 0), (1, 1), 8)
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))
upstream = torch.full((17,), torch.nan).as_strided((1, 0), (1, 1), 8)
tangent = torch.full((17,), torch.nan).as_strided((1, 0), (1, 1), 8)


def functional(flags):
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


def jacfwd_by_arguments(look, at):
    def looked(sent, table):
        return look(table, at.indices) + 0 * sent

    def twice(sent, table):
        return looked(sent, table), look(table, at.indices)

    def product(sent, table):
        return look(table, at.indices) * sent, sent

    jacobian, given = torch.func.jacfwd, (at.upstream, at.weight)
    ways = [jacobian(looked, 1)(*given), jacobian(looked, argnums=(1,))(*given)[0]]
    ways += [jacobian(looked, argnums=(0, 1))(*given)[1], jacobian(looked, argnums=(1, 0))(*given)[0]]
    found, value = jacobian(twice, argnums=1, has_aux=True)(*given)
    weighted, sent = jacobian(product, argnums=1, has_aux=True)(*given)
    return {"result": ways[0]}


def transformed(weight, indices, upstream, tangent, flags):
    look = functional(flags)
    at = types.SimpleNamespace(weight=weight, indices=indices, upstream=upstream, tangent=tangent)
    at.all_dims, at.look_dims, at.out_dim = (None, None, None), (None, None, None)[:2], 0
    seen = jacfwd_by_arguments(look, at)
    result = seen["result"]
    return {
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        **seen,
    }


try:
    seen = transformed(weight=weight, indices=indices, upstream=upstream, tangent=tangent, flags={})
except Exception as error:
    if type(error).__name__ != 'IndexError' or 'index 0 is out of bounds for dimension 0 with size 0' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
