# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: TransformCase(num_embeddings=1, embedding_dim=1, transform='functional_jacobian', shape=(0,))
# got:  raised RuntimeError: stack expects a non-empty TensorList
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import types
import torch._C
import torch._C._functorch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]]))
indices = torch.full((17,), 1515870810).as_strided((0,), (1,), 8)
upstream = torch.full((17,), torch.nan).as_strided((0, 1), (1, 1), 8)
tangent = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[3]]))


def functional(flags):
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


def functional_jacobian(look, at):
    return {"result": torch.autograd.functional.jacobian(lambda table: look(table, at.indices), at.weight)}


def transformed(weight, indices, upstream, tangent, flags):
    look = functional(flags)
    at = types.SimpleNamespace(weight=weight, indices=indices, upstream=upstream, tangent=tangent)
    at.all_dims, at.look_dims, at.out_dim = (None, None, None), (None, None, None)[:2], 0
    seen = functional_jacobian(look, at)
    result = seen["result"]
    return {
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        **seen,
    }


try:
    seen = transformed(weight=weight, indices=indices, upstream=upstream, tangent=tangent, flags={})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'stack expects a non-empty TensorList' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
