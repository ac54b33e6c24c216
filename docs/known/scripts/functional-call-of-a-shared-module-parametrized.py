# law:  Names are one Parameter exactly when they were before, or the operation is documented to break the tie.
# case: LifeCase(structure='shared_module', first='called_by_name', second='parametrized')
# got:  ['head.weight'], expected ['decoder.weight', 'encoder.weight', 'head.weight']
import sys

sys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))  # 1 is for the bug alone, 0 for its end

import torch

torch.set_num_threads(1)
weight = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[1, -2], [3, -4], [5, -6]]))
indices = torch.full((19,), 1515870810).as_strided((3,), (1,), 8).copy_(torch.tensor([0, 1, 2]))
hidden = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[-2, 1], [2, -1], [0, 0]]))
upstream = torch.full((22,), torch.nan).as_strided((3, 2), (2, 1), 8).copy_(torch.tensor([[0, 2], [1, -1], [2, 1]]))
upstream_head = torch.full((25,), torch.nan).as_strided((3, 3), (3, 1), 8).copy_(torch.tensor([[2, 0, 2], [2, -2, 2], [2, -2, -2]]))


def pair(weight, flags):
    """An embedding and a head with one weight, which was made for either of them."""
    rows, width = weight.shape
    head = torch.nn.Linear(width, rows, False, dtype=weight.dtype)
    embedding = torch.nn.Embedding(rows, width, _weight=weight, **flags)
    head.weight = embedding.weight
    return embedding, head


def shared_module(weight, flags):
    embedding, head = pair(weight, flags)
    return torch.nn.ModuleDict({"encoder": embedding, "decoder": embedding, "head": head})


def observe(model):
    """What a module shows of itself; tensors are copies, so two observations can be compared."""
    named = sorted(model.named_parameters(remove_duplicate=False), key=lambda pair: pair[0])
    cells = [id(p) for _, p in named]
    memory = [p.data_ptr() for _, p in named]
    state = model.state_dict()
    listed = [state[name].data_ptr() for name, _ in named if name in state]
    return {
        "names": [name for name, _ in named],
        "cells": [cells.index(cell) for cell in cells],
        "memory": [memory.index(pointer) for pointer in memory],
        "shapes": [tuple(p.shape) for _, p in named],
        "strides": [p.stride() for _, p in named],
        "dtypes": [str(p.dtype) for _, p in named],
        "requires_grad": [p.requires_grad for _, p in named],
        "leaves": all(type(p) is torch.nn.Parameter and p.is_leaf and p.grad_fn is None for _, p in named),
        "graded": [p.grad is not None for _, p in named],
        "grads": [p.grad.to_dense().tolist() for _, p in named if p.grad is not None],
        "hooks": sum(len(p._backward_hooks or ()) for _, p in named),
        "values": torch.cat([p.detach().reshape(-1) for _, p in named]),
        "versions": [p._version for _, p in named],
        "unique": sorted(cells.index(id(p)) for _, p in model.named_parameters()),
        "count": len(list(model.parameters())),
        "keys": sorted(state),
        "state_memory": [memory.index(pointer) if pointer in memory else -1 for pointer in listed],
        "modes": [m.training for m in model.modules()],
        "modules": [(path, type(m).__name__, m.training, m.extra_repr()) for path, m in model.named_modules()],
        "module_hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()),
    }


def called_by_name(model, embedding, head):
    (name, *_) = (name for name, p in model.named_parameters(remove_duplicate=False) if p is embedding.weight)
    model.forward = lambda tokens: head(embedding(tokens))
    torch.func.functional_call(model, {name: torch.zeros_like(embedding.weight)}, (torch.zeros(2, dtype=torch.int64),))
    del model.forward
    return model


def parametrized(model, embedding, head):
    parametrize = torch.nn.utils.parametrize
    parametrize.register_parametrization(embedding, "weight", torch.nn.Identity())
    parametrize.remove_parametrizations(embedding, "weight", leave_parametrized=False)
    return model


def same_view(a, b):
    """Whether two observations are equal."""
    rest = [name for name in a if name != "values"]
    return torch.equal(a["values"], b["values"]) and [a[name] for name in rest] == [b[name] for name in rest]


def live(acts, flags, weight, indices, hidden, upstream, upstream_head):
    model = shared_module(weight, flags)
    modules = [(path, type(module).__name__, module.extra_repr()) for path, module in model.named_modules()]
    left = []
    for act in acts:
        after = act(model, model.get_submodule('decoder'), model.get_submodule('head'))
        if after is not model:
            left.append((model, observe(model)))
        model = after
    seen = observe(model)
    table, out = model.get_submodule('decoder'), model.get_submodule('head')
    dtype = out.weight.dtype
    model.zero_grad()
    found, logits = table(indices), out(hidden.to(dtype))
    pairs = [(found, upstream.to(dtype)), (logits, upstream_head.to(dtype))]
    pairs = [pair for pair in pairs if pair[0].requires_grad]
    if pairs:
        torch.autograd.backward([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    named = sorted(model.named_parameters(remove_duplicate=False), key=lambda pair: pair[0])
    grads = [p.grad.to_dense().reshape(-1) for _, p in named if p.grad is not None]
    if grads:
        torch.optim.SGD(model.parameters(), lr=0.5).step()
    doubled = {"0.weight": torch.ones_like(out.weight)}
    chain = torch.nn.Sequential(table, out)
    call = torch.func.functional_call
    call(chain, doubled, (indices,)).detach()
    call(chain, {"1.weight": doubled["0.weight"]}, (indices,)).detach()
    call(chain, doubled, (indices,), tie_weights=False).detach()
    everything = dict(chain.named_parameters(remove_duplicate=False))
    taken = []
    plain = chain(indices)
    for given in (everything, {}, {**everything, "nobody": out.weight}):
        try:
            strictly = call(chain, given, (indices,), tie_weights=False, strict=True)
            taken.append(torch.equal(strictly, plain))
        except RuntimeError:
            taken.append(None)
    try:
        call(chain, (doubled, doubled), (indices,))
    except ValueError:
        pass
    with torch.no_grad():
        table.weight.fill_(7.0)
    all(same_view(observe(old), kept) for old, kept in left)
    with torch.no_grad():
        for old, _ in left:
            for parameter in old.parameters():
                parameter.fill_(9.0)
    return seen


seen = live(weight=weight, indices=indices, hidden=hidden, upstream=upstream, upstream_head=upstream_head, acts=(called_by_name, parametrized,), flags={})
got, expected, wrong = seen["names"], ['decoder.weight', 'encoder.weight', 'head.weight'], ['head.weight']
print("got", got, "expected", expected)
sys.exit(0 if got == expected else 1 if got == wrong else 2)
