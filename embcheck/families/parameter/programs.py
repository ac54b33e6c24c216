"""Programs: a Parameter is made of a tensor, and put into a module.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any


def leafed(
    origin: Callable[[Tensor], Tensor],
    make: Callable[[Tensor, bool], Tensor],
    under: Callable[[Callable[[], Any]], Any],
    place: Callable[[Module, str, Tensor], None],
    owner: Callable[[], Module],
    requires_grad: bool,
    slot: str,
    slot_before: str,
    evaluating: bool,
    times: int,
    data: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    import copy
    import io

    source = origin(data)
    marks = (source.requires_grad, source.is_leaf, source.grad_fn, source._version, source.grad, source._base is None)
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
        "source_kept": marks
        == (source.requires_grad, source.is_leaf, source.grad_fn, source._version, source.grad, source._base is None),
        "shown": repr(leaf).startswith("Parameter containing:\ntensor("),
        "values": leaf.detach().clone(),
    }

    class Marked(torch.Tensor):
        pass

    tagged = data.detach().as_subclass(Marked)
    marked: Any = torch.nn.Parameter(tagged, requires_grad=requires_grad)
    holder: Module = torch.nn.Module()
    holder.marked = marked
    seen["marked"] = (
        type(marked) is Marked
        and isinstance(marked, torch.nn.Parameter)
        and not isinstance(tagged, torch.nn.Parameter)
        and marked.requires_grad == requires_grad
        and marked.is_leaf
        and marked.data_ptr() == data.data_ptr()
        and next(holder.parameters()) is marked
    )
    # -- into a module
    module = owner()
    module.first = torch.nn.Parameter(torch.zeros(1))
    before = {
        "none": None,
        "alike": torch.nn.Parameter(torch.zeros_like(data)),
        "double": torch.nn.Parameter(torch.zeros(data.shape, dtype=torch.float64)),
        "frozen": torch.nn.Parameter(torch.zeros_like(data), requires_grad=False),
        "other_shape": torch.nn.Parameter(torch.zeros(7)),
    }.get(slot_before)
    others: dict[str, Any] = {"a_module": torch.nn.Linear(1, 1), "a_number": 3}
    if slot_before in others:
        setattr(module, slot, others[slot_before])
    elif slot_before == "a_buffer":
        module.register_buffer(slot, torch.zeros(1))
    elif slot_before != "absent":
        module.register_parameter(slot, before)
    if before is not None and before.requires_grad:
        before.grad = torch.ones_like(before)
    module.last = torch.nn.Parameter(torch.zeros(1))
    module.train(not evaluating)
    under(lambda: place(module, slot, leaf))
    state = module.state_dict()
    listed = dict(module.named_parameters())
    seen |= {
        "held": getattr(module, slot) is leaf and module._parameters[slot] is leaf and listed.get(slot) is leaf,
        "names": list(listed),
        "keys": list(state),
        "state": state[slot].data_ptr() == leaf.data_ptr() and state[slot].stride() == leaf.stride(),
        "still": leaf.requires_grad == requires_grad and leaf.grad is None and leaf.is_leaf,
        "replaced_kept": before is None
        or (
            (
                not before.requires_grad
                or (before.grad is not None and torch.equal(before.grad, torch.ones_like(before)))
            )
            and before.requires_grad == (slot_before != "frozen")
            and not bool(before.any())
        ),
        "mode_kept": module.training is not evaluating,
        "alone": slot not in {*module.__dict__, *module._modules, *module._buffers},
    }
    # -- its copies
    file = io.BytesIO()
    torch.save(leaf, file)
    file.seek(0)
    copies = {"deepcopied": copy.deepcopy(leaf), "saved": torch.load(file, weights_only=True)}
    for name, other in copies.items():
        seen[name] = other.detach().clone()
        seen[f"{name}_well"] = (
            type(other) is torch.nn.Parameter
            and other.requires_grad == leaf.requires_grad
            and other.is_leaf
            and other.grad is None
            and (not leaf.numel() or other.data_ptr() != leaf.data_ptr())
        )
        seen[f"{name}_strides"] = other.stride()
    seen |= fastened(leaf, upstream)
    # -- its gradient, and what writes to it show
    if leaf.requires_grad:
        for _ in range(2):
            leaf.backward(upstream) if leaf.dim() == 0 else (leaf * upstream).sum().backward()
    seen |= {
        "graded": leaf.grad is not None,
        "own_grad": leaf.grad,
        "others_graded": any(p.grad is not None for p in made[:-1]) or source.grad is not marks[4],
    }
    version, old = leaf._version, source._version
    one = source.numel() > 0 and any(
        step == 0 and length > 1 for step, length in zip(source.stride(), source.shape, strict=True)
    )
    with torch.no_grad():
        # Of an expanded tensor there is one element in memory.
        (source.as_strided((1,), (1,), source.storage_offset()) if one else source).mul_(2)
        seen["counted"] = leaf._version > version and source._version > old
        seen["doubled"] = leaf.detach().clone()
        (leaf.as_strided((1,), (1,), leaf.storage_offset()) if one else leaf).zero_()
        seen["zeroed"] = source.detach().clone()
    # -- and out again
    setattr(module, slot, None)
    seen["out"] = getattr(module, slot) is None and slot in module._parameters and slot not in module.state_dict()
    seen["names_out"] = [name for name, _ in module.named_parameters()]
    setattr(module, slot, leaf)
    module.register_parameter(slot, None)
    seen["registered_out"] = getattr(module, slot) is None and slot in module._parameters
    setattr(module, slot, leaf)
    delattr(module, slot)
    seen["deleted_out"] = (
        not hasattr(module, slot) and slot not in module._parameters and slot not in module.state_dict()
    )
    return seen


def fastened(leaf: Tensor, upstream: Tensor) -> dict[str, Any]:
    """What is fastened to a tensor goes along: attributes into a file, gradients of every layout into a deep copy."""
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
    filed = [alike(pickle.loads(pickle.dumps(grad)), grad) for grad in grads]
    return {"told": told_by_files(leaf), "copied_grads": copied, "filed_grads": filed}


def told_by_files(leaf: Tensor) -> bool:
    """Whether a Parameter that is loaded, or unpickled, has its attributes and is frozen if it was."""
    import io
    import pickle

    marked: Any = leaf
    marked.decays, marked.name_of_mine = False, "table"  # falsy, and not
    files: list[Any] = [io.BytesIO(), io.BytesIO()]
    torch.save(marked, files[0])
    pickle.dump(marked, files[1])
    del marked.decays, marked.name_of_mine
    for file in files:
        file.seek(0)
    read = [torch.load(files[0], weights_only=True), pickle.load(files[1])]
    return all(
        getattr(p, "decays", None) is False
        and getattr(p, "name_of_mine", None) == "table"
        and type(p) is torch.nn.Parameter
        and p.requires_grad == leaf.requires_grad
        for p in read
    )


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
