# law:  An index outside [0, num_embeddings) is refused, and nothing is written: no row is rescaled.
# case: RenormCase(num_embeddings=1, embedding_dim=1, shape=(2,), max_norm=1.0, stray='V', values='mixed', route='plain')
# got:  weight: its elements changed
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight_memory = torch.full((17,), torch.nan)
weight = weight_memory.as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[4]])).requires_grad_()
weight_before = weight_memory.clone()
indices_memory = torch.full((18,), 1515870810)
indices = indices_memory.as_strided((2,), (1,), 8).copy_(torch.tensor([1, 0]))
upstream_memory = torch.full((18,), torch.nan)
upstream = upstream_memory.as_strided((2, 1), (1, 1), 8).copy_(torch.tensor([[-665], [-499]]))


def functional(weight):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, max_norm=1.0)


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
    return seen


try:
    seen = renormalise(weight=weight, indices=indices, upstream=upstream)
except Exception as error:
    print("raised, as it should:", repr(error))
before, after = weight_before, weight_memory.detach()
written = (before.view(torch.uint8) != after.view(torch.uint8)).sum().item()
print("bytes written to weight:", written, "expected 0")
sys.exit(1 if written else 0)
