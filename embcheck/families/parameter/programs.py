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
    before: Callable[..., Any],
    registered: bool,
    flags: dict[str, bool],
    slot: str,
    data: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    origin, under = making
    source = origin(data)
    marks = marks_of(source)
    leaf = under(lambda: torch.nn.Parameter(source, **flags))
    seen: dict[str, Any] = {
        "leaf": leaf,
        "kind": type(leaf) is torch.nn.Parameter and leaf is not source and not leaf._is_view(),
        "rooted": leaf.is_leaf and leaf.grad_fn is None and leaf.grad is None and leaf.output_nr == 0,
        "hookless": not leaf._backward_hooks,
        "trains": leaf.requires_grad,
        "place": leaf.data_ptr() == source.data_ptr() and leaf.storage_offset() == source.storage_offset(),
        "source_kept": marks == marks_of(source),
        "values": leaf.detach().clone(),
    }
    module: Module = torch.nn.Module()
    module.first = torch.nn.Parameter(torch.zeros(1))
    before(module, slot, data)
    replaced = module._parameters.get(slot)
    module.last = torch.nn.Parameter(torch.zeros(1))
    put = module.register_parameter if registered else module.__setattr__
    under(lambda: put(slot, leaf))
    seen |= held(module, slot, leaf) | copied(leaf)
    seen["replaced_kept"] = replaced is None or not bool(replaced.any())
    if leaf.requires_grad:
        for _ in range(2):
            leaf.backward(upstream) if leaf.dim() == 0 else (leaf * upstream).sum().backward()
    seen |= {"graded": leaf.grad is not None, "own_grad": leaf.grad, "source_graded": source.grad is not marks[-1]}
    return seen | written(source, leaf) | taken_out(module, slot, leaf)


def marks_of(source: Tensor) -> tuple[Any, ...]:
    base = source._base is None
    return source.requires_grad, source.is_leaf, source.grad_fn, source._version, base, source.grad


def held(module: Module, slot: str, leaf: Tensor) -> dict[str, Any]:
    state, listed = module.state_dict(), dict(module.named_parameters())
    return {
        "held": getattr(module, slot) is leaf and module._parameters[slot] is leaf and listed.get(slot) is leaf,
        "names": list(listed),
        "state": state[slot].data_ptr() == leaf.data_ptr() and state[slot].stride() == leaf.stride(),
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
    """What a module shows once the Parameter was taken out, by None and by del."""
    setattr(module, slot, None)
    out = getattr(module, slot) is None and slot in module._parameters and slot not in module.state_dict()
    names = [name for name, _ in module.named_parameters()]
    setattr(module, slot, leaf)
    delattr(module, slot)
    there = hasattr(module, slot) or slot in module._parameters or slot in module.state_dict()
    return {"out": out, "names_out": names, "deleted_out": not there}


def copied(leaf: Tensor) -> dict[str, Any]:
    """A deep copy and a saved one, and whether they are Parameters like the other in memory of their own; a file keeps
    attributes, falsy ones too."""
    import copy
    import io

    marked: Any = leaf
    marked.decays, marked.name_of_mine = False, "table"
    file = io.BytesIO()
    torch.save(marked, file)
    del marked.decays, marked.name_of_mine
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    seen: dict[str, Any] = {"told": (getattr(saved, "decays", None), getattr(saved, "name_of_mine", None))}
    for name, other in (("deepcopied", copy.deepcopy(leaf)), ("saved", saved)):
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
