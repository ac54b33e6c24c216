# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: TransformCase(num_embeddings=2, embedding_dim=2, transform='vmap_of_vjp', shape=(1,), mapped=('weight',), out_dim=-1)
# got:  raised RuntimeError: The expanded size of the tensor (34359738370) must match the existing size (2) at
# non-singleton dimension 0.  Target sizes: [34359738370, 2].  Tensor sizes: [2,
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch._C
import torch._C._functorch

torch.set_num_threads(1)
weight = torch.full((24,), torch.nan).as_strided((2, 2, 2), (4, 2, 1), 8).copy_(torch.tensor([[[1, -2], [3, -4]], [[5, -6], [7, -8]]]))
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))
upstream = torch.full((18,), torch.nan).as_strided((1, 2), (2, 1), 8).copy_(torch.tensor([[-1, -2]]))
tangent = torch.full((24,), torch.nan).as_strided((2, 2, 2), (4, 2, 1), 8).copy_(torch.tensor([[[3, 2], [3, -2]], [[3, 1], [3, 2]]]))


def functional(flags):
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


def vmap_of_vjp(look, at):
    def pulled(table, tokens, sent):
        _, pull = torch.func.vjp(lambda table: look(table, tokens), table)  # type: ignore[misc]
        found = pull(sent)[0]
        return found

    return {"result": torch.vmap(pulled, at.all_dims, at.out_dim)(at.weight, at.indices, at.upstream)}


def transformed(weight, indices, upstream, tangent, flags):
    look = functional(flags)
    at = types.SimpleNamespace(weight=weight, indices=indices, upstream=upstream, tangent=tangent)
    at.all_dims, at.look_dims, at.out_dim = (0, None, None), (0, None, None)[:2], -1
    seen = vmap_of_vjp(look, at)
    result = seen["result"]
    return {
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        **seen,
    }


try:
    seen = transformed(weight=weight, indices=indices, upstream=upstream, tangent=tangent, flags={})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or ') must match the existing size (2) at non-singleton dimension 0.  Target sizes: ' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
