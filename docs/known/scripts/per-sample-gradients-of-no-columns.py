# law:  A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay.
# case: Case(num_embeddings=1, embedding_dim=0, shape=(1, 1), entry='module', route='per_sample')
# got:  raised RuntimeError: cannot reshape tensor of 0 elements into shape [1, -1, 0] because the unspecified
# dimension size -1 can be any value and is ambiguous
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch
import torch.nn.utils._per_sample_grad

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 0), (1, 1), 8).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[0]]))
upstream = torch.full((17,), torch.nan).as_strided((1, 1, 0), (1, 1, 1), 8)


def module(weight, **flags):
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)
    return layer.weight, layer


def per_sample(call, indices, upstream):
    value = torch.nn.utils._per_sample_grad.call_for_per_sample_grads(call)(indices)
    value.backward(upstream)
    return {}


def backward(weight, indices, upstream, flags):
    leaf, call = module(weight, **flags)
    leaf.requires_grad_()
    leaf.grad = None

    seen = per_sample(call, indices, upstream)
    return seen


try:
    seen = backward(weight=weight, indices=indices, upstream=upstream, flags={})
except Exception as error:
    if type(error).__name__ != 'RuntimeError' or 'cannot reshape tensor of 0 elements into shape [1, -1, 0] because the unspecifie' not in str(error):
        raise
    print("raised", repr(error), "expected no error")
    sys.exit(1)
print("no error")
