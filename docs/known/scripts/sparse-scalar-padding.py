# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(), padding_idx=0, sparse=True)
# got:  raised IndexError: too many indices for tensor of dimension 0 (got 1)
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))
upstream = torch.full((17,), torch.nan).as_strided((1,), (1,), 8).copy_(torch.tensor([-665]))


def functional(weight):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, padding_idx=0, sparse=True)


def backward(weight, indices, upstream):
    leaf, call = functional(weight)
    leaf.requires_grad_()
    leaf.grad = None

    seen = backward_call(call, indices, upstream)
    return seen


def backward_call(call, indices, upstream):
    value = call(indices)
    value.backward(upstream)
    return {}


try:
    seen = backward(weight=weight, indices=indices, upstream=upstream)
except Exception as error:
    if type(error).__name__ != 'IndexError' or 'too many indices for tensor of dimension 0 (got 1)' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
