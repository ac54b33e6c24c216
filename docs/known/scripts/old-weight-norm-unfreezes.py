# law:  What a weight is made of is the Parameter that was there, on both sides of a tie, and learns as it did.
# case: Reparametrized(frozen=True, old=True)
# got:  [True, True], expected [False, False]
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[3, 5], [-2, 6], [4, -1]]))
upstream = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[0, 2], [1, -1], [2, 1]]))
gains = torch.full((19,), torch.nan).as_strided((3, 1), (1, 1), 8).copy_(torch.tensor([[2], [1], [3]]))
directions = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[-3, 4], [-6, -5], [2, -1]]))


def sides(weight):
    """The two layers of a tied pair, that of ``side`` first."""
    embedding = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, _freeze=True)
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


def copied_value(layer):
    """What a deep copy of a layer uses as its weight; nothing if it can't be copied."""
    import copy

    try:
        return used(copy.deepcopy(layer)).detach().clone()
    except RuntimeError:
        return None


def normed(weight, gains, directions, upstream):
    import warnings

    tools = torch.nn.utils
    layer, other = sides(weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        tools.weight_norm(layer, dim=0)
    gain, direction = layer.weight_g, layer.weight_v
    seen = {
        "names": sorted(name.rpartition(".")[2] for name, _ in layer.named_parameters()),
        "trains": [gain.requires_grad, direction.requires_grad],
        "at_first": used(layer).detach().clone(),
    }
    with torch.no_grad():
        gain.copy_(gains)
        direction.copy_(directions)
    found = used(layer)
    copied_value(layer)
    if found.requires_grad:
        (found * upstream).sum().backward()
    tools.remove_weight_norm(layer)
    used(layer).detach().clone()
    return seen


seen = normed(weight=weight, upstream=upstream, gains=gains, directions=directions)
got, expected, wrong = seen["trains"], [False, False], [True, True]
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
