# law:  An index outside [0, num_embeddings) is refused and nothing is written.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(1,), stray='V', entry='linear')
# got:  accepted, expected IndexError or RuntimeError
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([1]))


def vmap(**arguments):
    """torch.vmap over the first axis of the indices."""

    def built(weight, **flags):
        leaf, call = linear(weight, **flags)
        return leaf, lambda given: torch.vmap(call)(given) if given.numel() and given.dim() else call(given)

    return forward(build=built, **arguments)


def linear(weight):
    one_hot = torch.nn.functional.one_hot
    rows = weight.shape[0]
    return weight, lambda indices: torch.nn.functional.linear(one_hot(indices.long(), rows).to(weight.dtype), weight.T)


def fresh(leaf, call, indices):
    pass


def forward(build, history, weight, indices, flags, requires_grad):
    leaf, call = build(weight, **flags)
    leaf.requires_grad_(requires_grad)
    held = history(leaf, call, indices)
    value = call(indices)
    return {"held": held is None or held()}


try:
    seen = vmap(weight=weight, indices=indices, history=fresh, flags={}, requires_grad=True)
except (IndexError, RuntimeError) as error:
    print("raised, as it should:", repr(error))
    sys.exit(0)
print("no error, expected IndexError or RuntimeError")
sys.exit(1)
