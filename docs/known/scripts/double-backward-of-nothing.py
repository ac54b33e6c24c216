# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: TransformCase(num_embeddings=1, embedding_dim=1, transform='backward_twice', shape=(0,))
# got:  raised RuntimeError: cannot reshape tensor of 0 elements into shape [0, -1] because the unspecified
# dimension size -1 can be any value and is ambiguous
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


try:
    seen = transformed(weight=weight, indices=indices, upstream=upstream, tangent=tangent, flags={})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'cannot reshape tensor of 0 elements into shape [0, -1] because the unspecified d' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
