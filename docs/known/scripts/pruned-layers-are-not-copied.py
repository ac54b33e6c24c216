# law:  A layer whose weight is normed, bounded or pruned is copied as any other is, for an average or an ensemble; the copy has its weight.
# case: Reparametrized(kind='pruned')
# got:  there is no copied: None came out
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[3, 5], [-2, 6], [4, -1]]))
upstream = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[0, 2], [1, -1], [2, 1]]))
importance = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[6, 4], [2, 1], [3, 5]]))


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


def copied_value(layer):
    """What a deep copy of a layer uses as its weight; nothing if it can't be copied."""
    import copy

    try:
        return used(copy.deepcopy(layer)).detach().clone()
    except RuntimeError:
        return None


def pruned(cuts, weight, importance, upstream):
    from torch.nn.utils import prune

    layer, other = sides(weight)
    before = layer.weight
    fresh = prune.is_pruned(layer)
    beside = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=importance.detach() + 0.5)
    masks = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, options in cuts:
            given = dict(options)
            if name == "custom_from_mask":
                given["mask"] = importance > 2
            if name == "global_unstructured":
                prune.global_unstructured([(layer, "weight"), (beside, "weight")], prune.L1Unstructured, **given)
            same = name == "global_unstructured" or getattr(prune, name)(layer, "weight", **given) is layer
            masks.append(layer.weight_mask.clone())
    found = used(layer)
    seen = {"told": [fresh, prune.is_pruned(layer), same], "copied": copied_value(layer)}
    if found.requires_grad:
        (found * upstream).sum().backward()
    with torch.no_grad():
        layer.weight_orig.mul_(-2)  # as a step would, after the last forward
    prune.remove(layer, "weight")
    seen |= {
        "removed": layer.weight is before and other.weight is before and not prune.is_pruned(layer),
        "after": used(layer).detach().clone(),
    }
    return seen


seen = pruned(weight=weight, upstream=upstream, importance=importance, cuts=(('l1_unstructured', {'amount': 2},),))
got, expected, wrong = seen["copied"] is None, False, True
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
