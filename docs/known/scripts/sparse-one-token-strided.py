# law:  The gradient has its parameter's shape, dtype and memory layout.
# case: ConversionCase(num_embeddings=2, embedding_dim=1, direction='to_embedding', shape=(), sparse=True, upstream_layout='strided', values='small')
# got:  the gradient changed with the weight
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((18,), torch.nan).as_strided((1, 2), (2, 1), 8).copy_(torch.tensor([[2, -3]]))
upstream = torch.full((17,), torch.nan).as_strided((1,), (2,), 8).copy_(torch.tensor([-665]))
other = torch.full((18,), torch.nan).as_strided((2,), (1,), 8).copy_(torch.tensor([1, 0]))
x = torch.full((17,), 1515870810).as_strided((), (), 8).copy_(torch.tensor(0))


def linear(weight):
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0] or 1, False, dtype=weight.dtype)
    linear.weight = torch.nn.Parameter(weight)
    return linear


def new_embedding(rows, width, dtype, flags ):
    return torch.nn.Embedding(rows, width, dtype=dtype, **flags)


def enabled(act):
    with torch.enable_grad():
        return act()


def T(w):  # noqa: N802
    return w.T


def none(w):
    return w


def attribute(target, view):
    target.weight = torch.nn.Parameter(view)
    return target.weight, target


def nothing(source, target, leaf, call):
    return source, target, leaf, call


def convert(weight, other, upstream, x=None, flags={}):
    if x is None:
        x = torch.nn.functional.one_hot(other.long(), weight.shape[0]).to(weight.dtype)
    source = linear(weight)
    target = new_embedding(weight.shape[1], weight.shape[0], weight.dtype, flags)
    target.weight.requires_grad_(True)
    original, kept, said = source.weight, weight.clone(), source.extra_repr()
    leaf, call = enabled(lambda: attribute(target, T(none(original))))
    seen = {"original_says": source.extra_repr() == said and source.training and target.training}
    source, target, leaf, call = nothing(source, target, leaf, call)
    original_after, version = source.weight, source.weight._version
    state = target.state_dict()
    for _ in range(1):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
            value = call(x)
        outputs, upstreams = [value], [upstream]
        pairs = [pair for pair in zip(outputs, upstreams, strict=True) if pair[0].requires_grad]
        if pairs:
            torch.autograd.backward([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    seen |= {"source_value": source(other).detach().clone()}
    grad_kept = None if leaf.grad is None else leaf.grad.clone()
    if leaf.grad is not None:
        torch.optim.SGD([leaf], lr=0.5).step()
    with torch.no_grad():
        leaf.neg_()
        original_after.zero_()
        original.copy_(kept)
    grad = leaf.grad
    seen["grad_stays"] = grad is None or grad_kept is None or torch.equal(grad.to_dense(), grad_kept.to_dense())
    return seen


seen = convert(weight=weight, upstream=upstream, other=other, x=x, flags={'sparse': True})
got, expected, wrong = bool(seen["grad_stays"]), True, False
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
