# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(0,), route='double_backward')
# got:  raised RuntimeError: cannot reshape tensor of 0 elements into shape [0, -1] because the unspecified
# dimension size -1 can be any value and is ambiguous
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((0,), (1,), 8)
upstream = torch.full((17,), torch.nan).as_strided((0, 1), (1, 1), 8)


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


def backward(weight, indices, upstream, flags):
    leaf, call = functional(weight, **flags)
    leaf.requires_grad_()
    leaf.grad = None

    seen = double_backward(leaf, call, indices, upstream)
    return seen


def double_backward(leaf, call, indices, upstream):
    upstream = upstream.detach().clone().requires_grad_()
    probe = leaf.detach().clone()
    value = call(indices)
    (grad,) = torch.autograd.grad(value, leaf, upstream, create_graph=True)
    (grad * probe).sum().backward() if not grad.is_sparse else grad.backward(probe)
    # The same of an upstream gradient that was computed.
    (again,) = torch.autograd.grad(call(indices), leaf, upstream * 1, create_graph=True)
    (computed,) = torch.autograd.grad(again, upstream, probe)
    return {}


try:
    seen = backward(weight=weight, indices=indices, upstream=upstream, flags={})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'cannot reshape tensor of 0 elements into shape [0, -1] because the unspecified d' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
