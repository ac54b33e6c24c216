# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: RenormCase(num_embeddings=1, embedding_dim=0, shape=(), max_norm=1.0, norm_type=1e999, values='real', route='plain')
# got:  raised RuntimeError: linalg.vector_norm cannot compute the inf norm on an empty tensor because the
# operation does not have an identity
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 0), (1, 1), 8).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((17,), torch.nan).as_strided((0,), (1,), 8)


def functional(weight, **flags):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


def fresh():
    pass


def plain(call, indices):
    return call(indices), None


def renormalise(weight, indices, upstream, flags):
    leaf, call = functional(weight, **flags)
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
    return seen


try:
    seen = renormalise(weight=weight, indices=indices, upstream=upstream, flags={'max_norm': 1.0, 'norm_type': float("inf")})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'linalg.vector_norm cannot compute the inf norm on an empty tensor because the op' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
