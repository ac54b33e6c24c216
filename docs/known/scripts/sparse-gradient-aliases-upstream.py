# law:  What was there stays: a preset .grad is added to in place, other leaves and graphs are left alone, hooks come in order.
# case: Case(num_embeddings=1, embedding_dim=1, shape=(1,), sparse=True, route='upstream_is_kept')
# got:  something was replaced, touched or called out of order
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[1]])).requires_grad_()
indices = torch.full((17,), 1515870810).as_strided((1,), (1,), 8).copy_(torch.tensor([0]))
upstream = torch.full((17,), torch.nan).as_strided((1, 1), (1, 1), 8).copy_(torch.tensor([[-665]]))


def functional(weight):
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, sparse=True)


def upstream_is_kept(leaf, call, indices, upstream):
    sent = upstream.clone()
    call(indices).backward(sent)
    found = leaf.grad
    assert found is not None
    found = found.clone()
    sent.fill_(float("nan"))
    own = torch.equal(leaf.grad.to_dense(), found.to_dense()) or bool(found.to_dense().isnan().any())  # type: ignore[union-attr]
    return {"kept": own}


def backward(weight, indices, upstream):
    leaf, call = functional(weight)
    leaf.requires_grad_()
    leaf.grad = None

    seen = upstream_is_kept(leaf, call, indices, upstream)
    return seen


seen = backward(weight=weight, indices=indices, upstream=upstream)
got, expected, wrong = bool(seen["kept"]), True, False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
