# law:  A layer whose weight is normed, bounded or pruned is copied as any other is, for an average or an ensemble; the copy has its weight.
# case: Reparametrized(kind='bounded', old=True)
# got:  there is no copied: None came out
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[3, 5], [-2, 6], [4, -1]]))
left = torch.full((19,), torch.nan).as_strided((3,), (1,), 8).copy_(torch.tensor([0.5345224738121033, 0.26726123690605164, 0.8017837405204773], dtype=torch.float32))
right = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).copy_(torch.tensor([0.4472135901451111, 0.8944271802902222], dtype=torch.float32))


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


def bounded(weight, left, right):
    tools = torch.nn.utils
    layer, other = sides(weight)
    asked = {"n_power_iterations": 1, "dim": 0}
    tools.spectral_norm(layer, **asked)
    original, u, v = layer.weight_orig, layer.weight_u, layer.weight_v
    u.copy_(left)
    v.copy_(right)
    layer.train(True)
    seen = {"set": used(layer).detach().clone()}
    layer.eval()
    used(layer).detach().clone()
    seen["copied"] = copied_value(layer)
    return seen


seen = bounded(weight=weight, left=left, right=right)
got, expected, wrong = seen["copied"] is None, False, True
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
