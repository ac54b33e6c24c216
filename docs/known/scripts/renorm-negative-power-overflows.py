# law:  A second lookup finds the rows rescaled: it moves them by rounding at most.
# case: RenormCase(num_embeddings=1, embedding_dim=2, shape=(), max_norm=0.0, norm_type=-1.0, values='mixed', route='plain', seed=349)
# got:  -8.40779e-45 8.96831e-44, expected -0 0 within 1.4e-45 (2 of 2 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((18,), torch.nan).as_strided((1, 2), (2, 1), 8).copy_(torch.tensor([[-8.407790785948902e-45, 8.96831017167883e-44]], dtype=torch.float32)).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).copy_(torch.tensor([8, -840]))


def functional(weight):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, max_norm=0.0, norm_type=-1.0)


def fresh():
    pass


def plain(call, indices):
    return call(indices), None


def renormalise(weight, indices, upstream):
    leaf, call = functional(weight)
    leaf.requires_grad_(True)
    fresh()
    leaf.grad = None
    value, used = plain(call, indices)
    seen = {}
    if value.requires_grad:
        losses = (
            [(value, upstream)]
            if used is None or not used.requires_grad
            else [(used, torch.ones_like(used)), (value, upstream)]
        )
        torch.autograd.backward([pair[0] for pair in losses], [pair[1] for pair in losses])
    call(indices)
    seen["twice"] = leaf.detach().clone()
    return seen


seen = renormalise(weight=weight, indices=indices, upstream=upstream)
got, expected, wrong = seen["twice"][[0]][0, 0], -0.0, -8.407790785948902e-45
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 1.401298464324817e-45 else 1 if abs(got - wrong) <= 1.401298464324817e-45 else 2)
