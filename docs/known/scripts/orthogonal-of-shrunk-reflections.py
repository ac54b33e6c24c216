# law:  An orthogonal weight stays one when what it is made of shrinks, as under weight decay.
# case: Reparametrized(kind='orthogonalized')
# got:  W Wᵀ is off by 1 > 3.43e-05
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[3, 5], [-2, 6], [4, -1]]))
upstream = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[0, 2], [1, -1], [2, 1]]))
wanted = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[0, 0], [1, 0], [0, -1]]))


def sides(weight):
    """The two layers of a tied pair, that of ``side`` first."""
    embedding = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, _freeze=False)
    head = torch.nn.Linear(weight.shape[1], weight.shape[0], False, dtype=weight.dtype)
    head.weight = embedding.weight
    return (embedding, head)


def used(layer):
    """The weight as a call of the layer uses it: rows that are looked up, or the images of unit vectors."""
    if isinstance(layer, torch.nn.Embedding):
        found = layer(torch.arange(layer.num_embeddings))
        return found
    images = layer(torch.eye(layer.in_features, dtype=next(layer.parameters()).dtype))
    return images.t()


def orthogonalized(weight, upstream, wanted):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer, other = sides(weight)
        torch.nn.utils.parametrizations.orthogonal(layer, orthogonal_map=None, use_trivialization=True)
        original = layer.parametrizations.weight.original
        found = used(layer)
        seen = {}
        if found.requires_grad:
            (found * upstream).sum().backward()
            torch.optim.SGD([original], lr=0.125).step()
        used(layer).detach().clone()
        with torch.no_grad():
            original.mul_(0.9375)  # as weight decay does
        seen["decayed"] = used(layer).detach().clone()
        layer.weight = wanted
        used(layer).detach().clone()
        return seen


seen = orthogonalized(weight=weight, upstream=upstream, wanted=wanted)
got, expected, wrong = (seen["decayed"].double().T @ seen["decayed"].double().T.T - torch.eye(2)).abs().max().item(), 0.0, 1.0
print("got", got, "expected", expected)
sys.exit(0 if abs(got - expected) <= 3.4332275390625e-05 else 1 if abs(got - wrong) <= 0.001 else 2)
