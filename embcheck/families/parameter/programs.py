"""Programs: a Parameter is made of a tensor, and put into a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from embcheck.core.registry import named
from embcheck.families.tie_preservation.operations import stored

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
    leaf = under(lambda: nn.Parameter(source, **flags))
    seen: dict[str, Any] = {
        "leaf": leaf,
        "kind": type(leaf) is nn.Parameter and leaf is not source and not leaf._is_view(),
        "rooted": leaf.is_leaf and leaf.grad_fn is None and leaf.grad is None and leaf.output_nr == 0,
        "hookless": not leaf._backward_hooks,
        "trains": leaf.requires_grad,
        "place": leaf.data_ptr() == source.data_ptr() and leaf.storage_offset() == source.storage_offset(),
        "source_kept": marks == marks_of(source),
        "values": leaf.detach().clone(),
    }
    module: Module = nn.Module()
    module.first = nn.Parameter(torch.zeros(1))
    before(module, slot, data)
    replaced = module._parameters.get(slot)
    module.last = nn.Parameter(torch.zeros(1))
    put = module.register_parameter if registered else module.__setattr__
    under(lambda: put(slot, leaf))
    seen |= held(module, slot, leaf) | copied(leaf)
    seen["replaced_kept"] = replaced is None or not bool(replaced.any())
    if leaf.requires_grad:
        for _ in range(2):
            leaf.backward(upstream) if leaf.dim() == 0 else (leaf * upstream).sum().backward()
    seen |= {"graded": leaf.grad is not None, "own_grad": leaf.grad, "source_graded": source.grad is not marks[-1]}
    return seen | written(source, leaf)


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


def copied(leaf: Tensor) -> dict[str, Any]:
    """A deep copy and a saved one, and whether they are Parameters like the other in memory of their own."""
    import copy

    seen: dict[str, Any] = {}
    for name, other in (("deepcopied", copy.deepcopy(leaf)), ("saved", stored(leaf, weights_only=True))):
        seen[name] = other.detach().clone()
        seen[f"{name}_well"] = (
            type(other) is nn.Parameter
            and other.requires_grad == leaf.requires_grad
            and other.is_leaf
            and other.grad is None
            and (not leaf.numel() or other.data_ptr() != leaf.data_ptr())
        )
        seen[f"{name}_strides"] = other.stride()
    return seen


def graded(data: Tensor) -> Tensor:
    made = nn.Parameter(data)
    made.grad = torch.ones_like(made)
    return made


def hooked(data: Tensor) -> Tensor:
    made = nn.Parameter(data)
    made.register_hook(lambda grad: grad * 3)
    return made


#: What it is made of.
ORIGINS: dict[str, Callable[[Tensor], Tensor]] = named(
    {
        "plain": lambda data: data,
        "leaf": lambda data: data.requires_grad_(),
        "product": lambda data: data.detach().requires_grad_().view_as(data),
        "frozen": lambda data: nn.Parameter(data, requires_grad=False),
        "graded": graded,
        "hooked": hooked,
    }
)


def no_grad(act: Callable[[], Any]) -> Any:
    with torch.no_grad():
        return act()


def inference(act: Callable[[], Any]) -> Any:
    with torch.inference_mode():
        return act()


UNDER: dict[str, Callable[[Callable[[], Any]], Any]] = named(
    {"enabled": lambda act: act(), "no_grad": no_grad, "inference": inference}
)


#: What has the slot's name before.
BEFORE: dict[str, Callable[[Module, str, Tensor], None]] = named(
    {
        "none": lambda m, slot, data: m.register_parameter(slot, None),
        "alike": lambda m, slot, data: m.register_parameter(slot, nn.Parameter(torch.zeros_like(data))),
        "frozen": lambda m, slot, data: m.register_parameter(slot, nn.Parameter(torch.zeros_like(data), False)),
        "absent": lambda m, slot, data: None,
    },
    "before_",
)
