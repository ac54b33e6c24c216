# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(2,), sparse=True, dtype='float16', route='two_passes')
# got:  raised NotImplementedError: "cadd_sparse" not implemented for 'Half'
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan, dtype=torch.float16).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((18,), 1515870810).as_strided((2,), (1,), 8).fill_(0)
upstream = torch.full((18,), torch.nan, dtype=torch.float16).as_strided((2, 1), (1, 1), 8).copy_(torch.tensor([[-121], [-115]]))


def functional(weight):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, sparse=True)


def backward(weight, indices, upstream):
    leaf, call = functional(weight)
    leaf.requires_grad_()
    leaf.grad = None

    seen = two_passes(call, indices, upstream)
    return seen


def two_passes(call, indices, upstream):
    call(indices).backward(upstream)
    value = call(indices)
    value.backward(upstream)
    return {}


try:
    seen = backward(weight=weight, indices=indices, upstream=upstream)
except Exception as error:
    if type(error).__name__ != 'NotImplementedError' or '"cadd_sparse" not implemented for \'Half\'' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
