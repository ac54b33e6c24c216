# law:  Exactly the rows that are looked up and whose p-norm exceeds max_norm become w·max_norm/norm; others are kept.
# case: RenormCase(num_embeddings=1, embedding_dim=2, shape=(), max_norm=0.5, values='huge', route='plain')
# got:  0 0, expected 0.353553 0.353553 within 3.44e-07 (2 of 2 elements differ)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((18,), torch.nan).as_strided((1, 2), (2, 1), 8).fill_(1.7014118346046923e+38).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).copy_(torch.tensor([-665, -499]))


def functional(weight):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, max_norm=0.5)


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
    seen = {"after": leaf.detach().clone()}
    if value.requires_grad:
        losses = (
            [(value, upstream)]
            if used is None or not used.requires_grad
            else [(used, torch.ones_like(used)), (value, upstream)]
        )
        torch.autograd.backward([pair[0] for pair in losses], [pair[1] for pair in losses])
    call(indices)
    return seen


seen = renormalise(weight=weight, indices=indices, upstream=upstream)
got, expected, wrong = seen["after"][[0]][0, 0], 0.35355339059327373, 0.0
got = got.item() if isinstance(got, torch.Tensor) else got
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 3.437857214180365e-07 else 1 if abs(got - wrong) <= 0.00035355339059327376 else 2)
