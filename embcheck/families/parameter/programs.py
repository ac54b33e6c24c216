"""Programs: a Parameter is made of a tensor, and put into a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any


def observations(
    making: tuple[Callable[..., Any], ...],
    placing: tuple[Callable[..., Any], ...],
    requires_grad: bool,
    slot: str,
    evaluating: bool,
    times: int,
    data: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    origin, make, under = making
    source = origin(data)
    marks = marks_of(source)
    made = [under(lambda: make(source, requires_grad)) for _ in range(times)]
    leaf = made[-1]
    seen: dict[str, Any] = {
        "leaf": leaf,
        "kinds": all(type(p) is torch.nn.Parameter and isinstance(p, torch.nn.Parameter) for p in made),
        "apart": len({id(p) for p in [*made, source]}) == times + 1,
        "rooted": all(p.is_leaf and p.grad_fn is None and p.grad is None and p.output_nr == 0 for p in made),
        "hookless": all(not p._backward_hooks for p in made),
        "trains": [p.requires_grad for p in made],
        "places": [p.data_ptr() == source.data_ptr() and p.storage_offset() == source.storage_offset() for p in made],
        "shapes": all(p.shape == source.shape and p.stride() == source.stride() for p in made),
        "types": all(p.dtype == source.dtype and p.device == source.device and p.layout == source.layout for p in made),
        "views": any(p._is_view() for p in made),
        "source_kept": marks == marks_of(source),
        "shown": repr(leaf).startswith("Parameter containing:\ntensor("),
        "values": leaf.detach().clone(),
        "marked": of_a_subclass(data, requires_grad),
    }
    module, found = put_into_a_module(leaf, placing, under, slot, evaluating, data)
    seen |= found
    seen["still"] = leaf.requires_grad == requires_grad and leaf.grad is None and leaf.is_leaf
    seen |= copied(leaf)
    seen |= {"told": told_by_files(leaf), **copied_gradients(leaf, upstream)}
    if leaf.requires_grad:
        for _ in range(2):
            leaf.backward(upstream) if leaf.dim() == 0 else (leaf * upstream).sum().backward()
    seen |= {
        "graded": leaf.grad is not None,
        "own_grad": leaf.grad,
        "others_graded": any(p.grad is not None for p in made[:-1]) or source.grad is not marks[-1],
    }
    return seen | written(source, leaf) | taken_out(module, slot, leaf)


def marks_of(source: Tensor) -> tuple[Any, ...]:
    base = source._base is None
    return source.requires_grad, source.is_leaf, source.grad_fn, source._version, base, source.grad


def of_a_subclass(data: Tensor, requires_grad: bool) -> bool:
    """Whether a Parameter of a subclass's tensor is a leaf Parameter of that class in its memory."""

    class Marked(torch.Tensor):
        pass

    tagged = data.detach().as_subclass(Marked)
    marked: Any = torch.nn.Parameter(tagged, requires_grad=requires_grad)
    holder: Module = torch.nn.Module()
    holder.marked = marked
    return (
        type(marked) is Marked
        and isinstance(marked, torch.nn.Parameter)
        and not isinstance(tagged, torch.nn.Parameter)
        and marked.requires_grad == requires_grad
        and marked.is_leaf
        and marked.data_ptr() == data.data_ptr()
        and next(holder.parameters()) is marked
    )


def put_into_a_module(
    leaf: Tensor,
    placing: tuple[Callable[..., Any], ...],
    under: Callable[[Callable[[], Any]], Any],
    slot: str,
    evaluating: bool,
    data: Tensor,
) -> tuple[Module, dict[str, Any]]:
    owner, prepare, place = placing
    module = owner()
    module.first = torch.nn.Parameter(torch.zeros(1))
    prepare(module, slot, data)
    before = module._parameters.get(slot)
    trained = before is not None and before.requires_grad
    if before is not None and trained:
        before.grad = torch.ones_like(before)
    module.last = torch.nn.Parameter(torch.zeros(1))
    module.train(not evaluating)
    under(lambda: place(module, slot, leaf))
    state, listed = module.state_dict(), dict(module.named_parameters())
    kept = before is None or (before.requires_grad == trained and not bool(before.any()))
    if before is not None and trained:
        kept = kept and before.grad is not None and torch.equal(before.grad, torch.ones_like(before))
    return module, {
        "held": getattr(module, slot) is leaf and module._parameters[slot] is leaf and listed.get(slot) is leaf,
        "names": list(listed),
        "keys": list(state),
        "state": state[slot].data_ptr() == leaf.data_ptr() and state[slot].stride() == leaf.stride(),
        "replaced_kept": kept,
        "mode_kept": module.training is not evaluating,
        "alone": slot not in {*module.__dict__, *module._modules, *module._buffers},
    }


def written(source: Tensor, leaf: Tensor) -> dict[str, Any]:
    """What a Parameter shows of a write to its tensor, and the other way round."""
    version, old = leaf._version, source._version
    steps = zip(source.stride(), source.shape, strict=True)
    one = source.numel() > 0 and any(step == 0 and length > 1 for step, length in steps)

    def elements(tensor: Tensor) -> Tensor:
        # Of an expanded tensor there is one element in memory.
        return tensor.as_strided((1,), (1,), tensor.storage_offset()) if one else tensor

    with torch.no_grad():
        elements(source).mul_(2)
        counted = leaf._version > version and source._version > old
        doubled = leaf.detach().clone()
        elements(leaf).zero_()
        return {"counted": counted, "doubled": doubled, "zeroed": source.detach().clone()}


def taken_out(module: Module, slot: str, leaf: Tensor) -> dict[str, Any]:
    """What a module shows once the Parameter was taken out in each of three ways."""
    setattr(module, slot, None)
    seen: dict[str, Any] = {
        "out": getattr(module, slot) is None and slot in module._parameters and slot not in module.state_dict(),
        "names_out": [name for name, _ in module.named_parameters()],
    }
    setattr(module, slot, leaf)
    module.register_parameter(slot, None)
    seen["registered_out"] = getattr(module, slot) is None and slot in module._parameters
    setattr(module, slot, leaf)
    delattr(module, slot)
    there = hasattr(module, slot) or slot in module._parameters or slot in module.state_dict()
    return seen | {"deleted_out": not there}


def copied(leaf: Tensor) -> dict[str, Any]:
    """A deep copy and a saved one, and whether they are Parameters like the other in memory of their own."""
    import copy
    import io

    file = io.BytesIO()
    torch.save(leaf, file)
    file.seek(0)
    seen: dict[str, Any] = {}
    for name, other in (("deepcopied", copy.deepcopy(leaf)), ("saved", torch.load(file, weights_only=True))):
        seen[name] = other.detach().clone()
        seen[f"{name}_well"] = (
            type(other) is torch.nn.Parameter
            and other.requires_grad == leaf.requires_grad
            and other.is_leaf
            and other.grad is None
            and (not leaf.numel() or other.data_ptr() != leaf.data_ptr())
        )
        seen[f"{name}_strides"] = other.stride()
    return seen


def told_by_files(leaf: Tensor) -> bool:
    """Whether a Parameter that is loaded, or unpickled, has its attributes and is frozen if it was."""
    import io
    import pickle

    marked: Any = leaf
    marked.decays, marked.name_of_mine = False, "table"  # falsy, and not
    file = io.BytesIO()
    torch.save(marked, file)
    pickled = pickle.dumps(marked)
    del marked.decays, marked.name_of_mine
    file.seek(0)
    return all(
        getattr(p, "decays", None) is False
        and getattr(p, "name_of_mine", None) == "table"
        and type(p) is torch.nn.Parameter
        and p.requires_grad == leaf.requires_grad
        for p in (torch.load(file, weights_only=True), pickle.loads(pickled))
    )


def copied_gradients(leaf: Tensor, upstream: Tensor) -> dict[str, Any]:
    """Whether gradients of every layout come along into a deep copy, a conversion and a file."""
    import copy
    import pickle

    grads = [upstream.clone()]
    if upstream.dim():
        once = upstream.to_sparse(1)
        places, values = once.indices(), once.values()
        grads += [once, torch.sparse_coo_tensor(torch.cat([places] * 2, 1), torch.cat([values] * 2), upstream.shape)]
    copied = []
    for grad in grads:
        plain = leaf.detach().clone().requires_grad_()
        plain.grad = grad
        other = copy.deepcopy(plain)
        kept = other.requires_grad and other.is_leaf and alike(other.grad, grad)
        copied.append(kept and converted_along(leaf, grad))
    return {"copied_grads": copied, "filed_grads": [alike(pickle.loads(pickle.dumps(grad)), grad) for grad in grads]}


def alike(found: Tensor | None, grad: Tensor) -> bool:
    """Whether a gradient is another's equal in its layout, in memory of its own."""
    if found is None or found is grad:
        return False
    if found.layout != grad.layout or found.shape != grad.shape or found.dtype != grad.dtype:
        return False
    pairs: tuple[tuple[Tensor, Tensor], ...] = ((found, grad),)
    if grad.is_sparse:
        if found.is_coalesced() != grad.is_coalesced():
            return False
        pairs = ((found._indices(), grad._indices()), (found._values(), grad._values()))
    return all(torch.equal(one, own) and (not own.numel() or one.data_ptr() != own.data_ptr()) for one, own in pairs)


def converted_along(leaf: Tensor, grad: Tensor) -> bool:
    """Whether a gradient is converted with its Parameter, and keeps its layout."""
    holder: Module = torch.nn.Module()
    holder.weight = torch.nn.Parameter(leaf.detach().clone())
    holder.weight.grad = grad.clone()
    own = grad.to_dense().clone()
    there = holder.double().weight.grad
    return (
        there is not None
        and there.dtype == holder.weight.dtype == torch.float64
        and there.layout == grad.layout
        and torch.equal(there.to_dense(), own.double())
    )
