"""What a fault does to the tensors of a call: to those that it returns, or to those that it writes.

A damage is planned from a call that was made and what it returned.  The plan is None where nothing would change, so that a
clean run tells which calls a fault changes without doing it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from selfcheck.site import Call, Site, Tensor

#: Changes the rows that came out, shape ``(rows, columns)``, which are its own; None if there is nothing to change.
Spoil = Callable[[Call, Tensor], "Tensor | None"]
#: What is to be done after a call; it gives what is returned instead.
Plan = Callable[[], Any]
Planner = Callable[[Site, Call, Any], "Plan | None"]
Pairs = list[tuple[Any, Any]]
#: The place of all tensors that are written, where others are a position.
ALL = 99


def matrix(result: Any) -> Tensor:
    """A copy of what came out as a matrix."""
    return _rows(result).clone()


def _rows(result: Any) -> Tensor:
    """What came out as a matrix: the first of several results, the values of a sparse one."""
    first: Tensor = result[0] if isinstance(result, tuple) else result
    rows = (first._values() if first.is_sparse else first).detach()
    return rows.reshape(-1, rows.shape[-1] if rows.dim() > 1 else 1) if rows.numel() else rows


def with_matrix(tensor: Tensor, rows: Tensor) -> Tensor:
    """A tensor like another, with a matrix of other values in it."""
    if not tensor.is_sparse:
        return rows.reshape(tensor.shape)
    values = rows.reshape(tensor._values().shape)
    made = torch.sparse_coo_tensor(tensor._indices(), values, tensor.shape, check_invariants=False)
    return made._coalesced_(tensor.is_coalesced())


def differs(one: Any, other: Any) -> bool:
    """Whether two results are not the same by the oracle's equality: zeros of either sign are equal, and so are NaNs."""
    left, right = _rows(one), _rows(other)
    if left.shape != right.shape:
        return True
    return not bool(((left == right) | (left.isnan() & right.isnan())).all())


def pairs_of(result: Any) -> Pairs:
    """The names and values of a dictionary, or the pairs that they are already."""
    if isinstance(result, tuple):  # dictionaries, of which the first is spoiled
        return list(result[0].items())
    return list(result.items()) if isinstance(result, Mapping) else list(result)


def as_returned(result: Any, pairs: Pairs) -> Any:
    """Pairs as what was returned: a dictionary with its attributes, or an iterator."""
    if isinstance(result, tuple):
        return (as_returned(result[0], pairs), *result[1:])
    if not isinstance(result, dict):
        return iter(pairs)
    made = type(result)(pairs)
    getattr(made, "__dict__", {}).update(getattr(result, "__dict__", {}))
    return made


def doing(effect: Callable[[], object], result: Any) -> Plan:
    """What does something and gives what was returned."""

    def plan() -> Any:
        effect()
        return result

    return plan


def snapshot(site: Site, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a call may change, as it was before: the values of tensors, and the gradients of a module's Parameters."""
    if not site.in_place:
        return {}
    written = [(each, each.detach().clone()) for each in site.written(given, None)]
    if site.kind == "kernel":
        return {"written": written}
    states = [
        each
        for name, value in given.items()
        for each in (value if isinstance(value, list) else ())
        if name not in {"grads", "state_steps", site.writes} and isinstance(each, torch.Tensor)
    ]
    return {
        "written": written,
        "states": [(each, each.detach().clone()) for each in states],
        "grads": [(each, None if each.grad is None else each.grad.clone()) for each, _ in written if each.is_leaf],
    }


def parameter_of(made: Tensor, values: Tensor) -> nn.Parameter:
    """A Parameter of other values, frozen if the one before was."""
    return nn.Parameter(values, made.requires_grad)


def _last(result: Any) -> tuple[int, list[Any], Any]:
    """The place of the last tensor in a result, or -1, its leaves and how they are put together."""
    leaves, spec = tree_flatten(result)
    places = [place for place, each in enumerate(leaves) if isinstance(each, torch.Tensor)]
    return (places[-1] if places else -1), leaves, spec


def tensor_of(site: Site, call: Call, result: Any) -> Tensor | None:
    """The tensor of a call whose rows are spoiled: the first that is written, a kernel's first, else the last that
    is returned."""
    if site.in_place:
        return next(iter(site.written(call.given, result)), None)
    if site.kind == "kernel":
        found: Tensor = result[0] if isinstance(result, tuple) else result
        return found
    if site.kind == "numbers":
        numbers = [result] if isinstance(result, (int, float)) else list(result)
        plain = all(type(each) in {int, float} for each in numbers)
        return torch.tensor(numbers, dtype=torch.float64) if plain else None
    place, leaves, _ = _last(pairs_of(result) if site.kind == "mapping" else result)
    return None if place < 0 else leaves[place]


def put(site: Site, result: Any, tensor: Tensor, values: Tensor) -> Any:
    """What is returned with other values in the tensor of a call; values alone change, and the graph stays."""
    if site.in_place:
        tensor.data.copy_(values)
        return result
    if site.kind == "kernel":
        return (values, *result[1:]) if isinstance(result, tuple) else values
    if site.kind == "leaf":
        return parameter_of(tensor, values)
    if site.kind == "numbers":
        return values.tolist()
    changed = tensor.clone()
    changed.data.copy_(values)
    if site.kind == "mapping":
        return as_returned(result, _with_last(pairs_of(result), changed))
    return _with_last(result, changed)


def _with_last(result: Any, tensor: Any) -> Any:
    place, leaves, spec = _last(result)
    return tree_unflatten([*leaves[:place], tensor, *leaves[place + 1 :]], spec)


def of_rows(spoil: Spoil, least: int) -> Planner:
    """What changes the rows of the tensor of a call, if there are enough."""

    def planned(site: Site, call: Call, result: Any) -> Plan | None:
        tensor = tensor_of(site, call, result)
        plain = tensor is not None and tensor.layout is torch.strided and tensor.is_floating_point()
        if tensor is None or not (plain or site.kind == "kernel"):
            return None
        rows = matrix(tensor)
        spoiled = spoil(call, rows) if rows.numel() and len(rows) >= least else None
        if spoiled is None or not differs(tensor, spoiled):
            return None
        return lambda: put(site, result, tensor, with_matrix(tensor, spoiled))

    return planned


def of_written(place: int, change: Callable[[Tensor, Tensor], Tensor], of: str = "written") -> Planner:
    """The tensor at a place among those that are written, or all, changed by what it was before and is now."""

    def planned(site: Site, call: Call, result: Any) -> Plan | None:
        kept = call.before[of] if place == ALL else call.before[of][place:][:1]
        changed = [(each, change(old, each.detach()).to(each.dtype)) for each, old in kept if each.shape == old.shape]
        changed = [(each, values) for each, values in changed if each.layout is torch.strided and differs(each, values)]
        return doing(lambda: [each.data.copy_(values) for each, values in changed], result) if changed else None

    return planned


def behind(tensor: Tensor) -> Tensor | None:
    """The element behind a tensor in its storage, if there is one."""
    if tensor.layout is not torch.strided or not tensor.numel():
        return None
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    place = tensor.storage_offset() + last + 1
    within = (place + 1) * tensor.element_size() <= tensor.untyped_storage().nbytes()
    return tensor.detach().as_strided((1,), (1,), place) if within else None


def spill(site: Site, call: Call, result: Any) -> Plan | None:
    """The element behind the first tensor in its storage is changed."""
    tensor = tensor_of(site, call, result)
    element = None if tensor is None else behind(tensor)
    return None if element is None else doing(lambda: element.fill_(3), result)


def gradient_into_parameter(site: Site, call: Call, result: Any) -> Plan | None:
    """The first gradient is doubled, which a step only reads."""
    found = call.given["grads"]
    if not found or found[0].layout is not torch.strided or not found[0].any():
        return None
    return doing(lambda: found[0].data.mul_(2), result)


def of_gradient(change: Callable[[Tensor], Tensor]) -> Planner:
    """What is returned has the same values, and another gradient."""

    def planned(site: Site, call: Call, result: Any) -> Plan | None:
        tensor = tensor_of(site, call, result)
        if tensor is None or not tensor.requires_grad or not tensor.numel():
            return None
        return lambda: _with_last(result, change(tensor))

    return planned


def restride(site: Site, call: Call, result: Any) -> Plan | None:
    """The same values in another memory layout."""
    tensor = tensor_of(site, call, result)
    if tensor is None or tensor.layout is not torch.strided or tensor.dim() < 2 or min(tensor.shape[-2:]) < 2:
        return None
    made = tensor.mT.contiguous().mT if tensor.is_contiguous() else tensor.contiguous()

    def laid() -> Any:
        if site.in_place:
            tensor.data = made.detach()
            return result
        return parameter_of(tensor, made.detach()) if site.kind == "leaf" else _with_last(result, made)

    return laid


def of_leaf(make: Callable[[Tensor], Tensor]) -> Planner:
    return lambda site, call, result: (lambda: make(result)) if isinstance(result, nn.Parameter) else None
