# law:  Rescaling changes no sign.
# case: RenormCase(num_embeddings=1, embedding_dim=1, shape=(), max_norm=-1.0, values='real', route='plain')
# got:  row 0 changed a sign
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[0.9401166439056396]], dtype=torch.float32)).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((17,), torch.nan).as_strided((1,), (1,), 8).copy_(torch.tensor([-665]))


def functional(weight):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, max_norm=-1.0)


def fresh():
    pass


def plain(call, indices):
    return call(indices), None


def renormalise(weight, indices, upstream):
    leaf, call = functional(weight)
    leaf.requires_grad_(True)
    fresh()
    leaf.grad = None
    before = leaf.detach().clone()
    value, used = plain(call, indices)
    seen = {"before": before, "after": leaf.detach().clone()}
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
got, expected, wrong = (seen["after"][0].signbit() == seen["before"][0].signbit()).all().item(), True, False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
