# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: RenormCase(num_embeddings=1, embedding_dim=1, shape=(1,), max_norm=1.0, route='checkpointed_with_the_table')
# got:  raised RuntimeError: one of the variables needed for gradient computation has been modified by an
# inplace operation: [torch.FloatTensor [1, 1]] is at version 1; expected version 0 i
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.utils.checkpoint

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))
upstream = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[-665]]))


def functional(weight):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, max_norm=1.0)


def fresh():
    pass


def checkpointed_with_the_table(leaf, call, indices):
    def look_up(table, tokens):
        return call(tokens)

    return torch.utils.checkpoint.checkpoint(look_up, leaf, indices, use_reentrant=False), None


def renormalise(weight, indices, upstream):
    leaf, call = functional(weight)
    leaf.requires_grad_(True)
    fresh()
    leaf.grad = None
    value, used = checkpointed_with_the_table(leaf, call, indices)
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
    if type(error).__name__ != 'RuntimeError' or 'one of the variables needed for gradient computation has been modified by an inp' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
