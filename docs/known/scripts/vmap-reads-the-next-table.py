# law:  An index outside [0, num_embeddings) is refused in every transform and nothing is written.
# case: TransformCase(num_embeddings=1, embedding_dim=1, transform='vmap_value', shape=(1,), mapped=('weight', 'indices'), stray='V')
# got:  accepted, expected IndexError or RuntimeError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch._C
import torch._C._functorch

torch.set_num_threads(1)
weight = torch.full((18,), torch.nan).as_strided((2, 1, 1), (1, 1, 1), 8).copy_(torch.tensor([[[1]], [[-2]]]))
indices = torch.full((18,), 1515870810).as_strided((2, 1), (1, 1), 8).copy_(torch.tensor([[1], [0]]))
upstream = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[-1]]))
tangent = torch.full((18,), torch.nan).as_strided((2, 1, 1), (1, 1, 1), 8).copy_(torch.tensor([[[3]], [[2]]]))


def functional(flags):
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


def vmap_value(look, at):
    return {"result": torch.vmap(look, at.look_dims, at.out_dim)(at.weight, at.indices)}


def transformed(weight, indices, upstream, tangent, flags):
    look = functional(flags)
    at = types.SimpleNamespace(weight=weight, indices=indices, upstream=upstream, tangent=tangent)
    at.all_dims, at.look_dims, at.out_dim = (0, 0, None), (0, 0, None)[:2], 0
    seen = vmap_value(look, at)
    result = seen["result"]
    return {
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        **seen,
    }


try:
    seen = transformed(weight=weight, indices=indices, upstream=upstream, tangent=tangent, flags={})
except (IndexError, RuntimeError) as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected IndexError or RuntimeError")
sys.exit(1)
