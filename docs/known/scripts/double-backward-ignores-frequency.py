# law:  The gradient of ⟨dW, R⟩ by dY is R[i], zero at padding: dW is linear in dY, be that a leaf or computed.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(2,), scale_grad_by_freq=True, route='double_backward')
# got:  1 1, expected 0.5 0.5 within 8.94e-08 (2 of 2 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).fill_(0)
upstream = torch.full((18,), torch.nan).as_strided((2, 1), (1, 1), 8).copy_(torch.tensor([[-665], [-499]]))


def functional(weight):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, scale_grad_by_freq=True)


def backward(weight, indices, upstream):
    leaf, call = functional(weight)
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
    return {"upstream_grad": upstream.grad}


seen = backward(weight=weight, indices=indices, upstream=upstream)
got, expected, wrong = seen["upstream_grad"][0, 0], 0.5, 1.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 8.940698315030035e-08 else 1 if abs(got - wrong) <= 0.0005 else 2)
