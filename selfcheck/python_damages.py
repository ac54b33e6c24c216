"""Damages at sites in Python: what a fault does to a call, as the closed list of `python_damages`.

A damage is planned from a call that was made and what it returned; the plan is None where nothing would change, so that a
clean run tells which calls a fault changes without doing it.  Damages of rows are those of the kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from selfcheck.damages import DAMAGES, Call, Damage, Spoil, differs, memory
from selfcheck.python_sites import PythonSite, Tensor
from selfcheck.sites import matrix

#: What is to be done after a call; it gives what is returned instead.
Plan = Callable[[], Any]
Planner = Callable[[PythonSite, Call, Any], "Plan | None"]
#: Kinds of sites whose calls leave tensors, or numbers, whose rows are spoiled.
_ROWS = ("value", "transform", "leaf", "numbers", "written", "module", "mapping", "optimizer")
_INPLACE = ("written", "module", "optimizer")


class PythonDamage(NamedTuple):
    """A damage by its name, at sites of some kinds, or that take an ``argument``; it changes the call before or what comes after.

    ``needs`` are conditions without which nothing changes; ``change`` gives the argument that is passed instead, or the
    same.
    """

    name: str
    planner: Planner | None = None
    kinds: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    argument: str = ""
    change: Callable[[Call, Any], Any] | None = None
    forbids: tuple[str, ...] = ()

    def of(self, site: PythonSite) -> bool:
        """Whether a site has this damage."""
        if self.argument:
            return self.argument in site.signature.parameters and site.kind != "transform"
        return site.kind in self.kinds

    def conditions(self, site: PythonSite) -> list[str]:
        """What a call must meet for the damage to change anything."""
        return list(self.needs)

    def given(self, call: Call) -> dict[str, Any]:
        """The arguments that a call is made with instead of its own; none where nothing changes."""
        if self.change is None or self.argument not in call.given:
            return {}
        value = call.given[self.argument]
        changed = self.change(call, value)
        return {} if changed is value else {self.argument: changed}

    def plan(self, site: PythonSite, call: Call, result: Any) -> Plan | None:
        """What is to be done after a call."""
        return None if self.planner is None else self.planner(site, call, result)


# -- tensors of a call --------------------------------------------------------------------------------------------------


def snapshot(site: PythonSite, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a call may change, as it was before: the values of tensors, and of a module its Parameters and their gradients."""
    found: dict[str, Any] = {}
    if site.kind in _INPLACE:
        found["written"] = [(each, each.detach().clone()) for each in site.written(given, None)]
        module = site.module(given, None) if site.kind == "module" else None
        named = module.named_parameters(remove_duplicate=False) if module is not None and found["written"] else ()
        found["parameters"] = [
            (name, each, each.grad, None if each.grad is None else each.grad.clone()) for name, each in named
        ]
    if site.kind == "written":
        lists = {name: value for name, value in given.items() if isinstance(value, list) and name != site.writes}
        found["states"] = [
            (each, each.detach().clone())
            for name, value in lists.items()
            for each in value
            if name not in {"grads", "state_steps"} and isinstance(each, torch.Tensor)
        ]
    return found


def _last(result: Any) -> tuple[int, list[Any], Any]:
    """The place of the last tensor in a result, its leaves and how they are put together; -1 if it holds none."""
    leaves, spec = tree_flatten(result)
    places = [place for place, each in enumerate(leaves) if isinstance(each, torch.Tensor)]
    return (places[-1] if places else -1), leaves, spec


def tensor_of(site: PythonSite, call: Call, result: Any) -> Tensor | None:
    """The tensor of a call whose rows are spoiled: the first that is written, or the last that is returned."""
    if site.kind in _INPLACE:
        written = site.written(call.given, result)
        return written[0] if written else None
    if site.kind == "numbers":
        numbers = [result] if isinstance(result, (int, float)) else list(result)
        return (
            torch.tensor(numbers, dtype=torch.float64) if all(type(each) in {int, float} for each in numbers) else None
        )
    place, leaves, _ = _last(result if site.kind != "mapping" else _values(result))
    return None if place < 0 else leaves[place]


def _put(site: PythonSite, result: Any, tensor: Tensor, rows: Tensor) -> Any:
    """What is returned with other values in the tensor of a call; values alone change, and the graph stays."""
    values = rows.reshape(tensor.shape)
    if site.kind in _INPLACE:
        tensor.data.copy_(values)
        return result
    if site.kind == "leaf":
        return nn.Parameter(values, tensor.requires_grad)
    if site.kind == "numbers":
        return values.tolist()
    changed = tensor.clone()
    changed.data.copy_(values)
    if site.kind == "mapping":
        return _with_values(result, [changed if each is tensor else each for each in _values(result)])
    place, leaves, spec = _last(result)
    return tree_unflatten([*leaves[:place], changed, *leaves[place + 1 :]], spec)


def _values(result: Any) -> list[Any]:
    return [value for _, value in _pairs(result)]


def _pairs(result: Any) -> list[tuple[Any, Any]]:
    """The names and values of a dictionary, or the pairs that they are already."""
    if isinstance(result, tuple):  # dictionaries, of which the first is spoiled
        return list(result[0].items())
    return list(result.items()) if isinstance(result, Mapping) else list(result)


def _with_values(result: Any, values: list[Any]) -> Any:
    return _as(result, [(name, value) for (name, _), value in zip(_pairs(result), values, strict=True)])


def _as(result: Any, pairs: list[tuple[Any, Any]]) -> Any:
    """Pairs as what was returned: a dictionary with its attributes, or an iterator."""
    if isinstance(result, tuple):
        return (_as(result[0], pairs), *result[1:])
    if not isinstance(result, Mapping):
        return iter(pairs)
    made = type(result)(pairs)
    vars(made).update(vars(result)) if hasattr(result, "__dict__") else None
    return made


def _rows(spoil: Spoil) -> Planner:
    """A damage of kernels, to the rows of the tensor of a call."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        tensor = tensor_of(site, call, result)
        if tensor is None or tensor.layout is not torch.strided or not tensor.numel() or not tensor.is_floating_point():
            return None
        rows = matrix(tensor)
        spoiled = spoil(call, rows) if len(rows) > 1 or spoil not in _OF_TWO else None
        if spoiled is None or not differs(tensor, spoiled.reshape(tensor.shape)):
            return None
        return lambda: _put(site, result, tensor, spoiled)

    return planned


_OF_TWO = tuple(each.spoil for each in DAMAGES.values() if each.rows > 1 and each.spoil is not None)


def _written(place: int, change: Callable[[Tensor, Tensor], Tensor], of: str = "written") -> Planner:
    """The tensor at a place among those that are written, or all, changed by what it was before and is now."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        kept = call.before[of] if place == _ALL else call.before[of][place:][:1]
        changed = [(each, change(before, each.detach())) for each, before in kept if each.shape == before.shape]
        changed = [(each, values) for each, values in changed if each.layout is torch.strided and differs(each, values)]
        if not changed:
            return None

        def put() -> Any:
            for each, values in changed:
                each.data.copy_(values)
            return result

        return put

    return planned


_ALL = 99


def _spill(site: PythonSite, call: Call, result: Any) -> Plan | None:
    """The element behind the first tensor in its storage is changed."""
    written = site.written(call.given, result)
    if not written or written[0].layout is not torch.strided or not written[0].numel():
        return None
    tensor = written[0].detach()
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    place = tensor.storage_offset() + last + 1
    if (place + 1) * tensor.element_size() > tensor.untyped_storage().nbytes():
        return None
    return lambda: (tensor.as_strided((1,), (1,), place).fill_(3), result)[1]


def _gradients(site: PythonSite, call: Call, result: Any) -> Plan | None:
    """The first gradient is doubled, which a step only reads."""
    found = call.given.get("grads") or ()
    if not found or found[0].layout is not torch.strided or not found[0].any():
        return None
    return lambda: (found[0].data.mul_(2), result)[1]


def _gradient(change: Callable[[Tensor], Tensor]) -> Planner:
    """What is returned has the same values, and another gradient."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        place, leaves, spec = _last(result)
        if place < 0 or not leaves[place].requires_grad or not leaves[place].numel():
            return None
        return lambda: tree_unflatten([*leaves[:place], change(leaves[place]), *leaves[place + 1 :]], spec)

    return planned


def _restrided(tensor: Tensor) -> Tensor | None:
    """The same values in another memory layout; None if there is no other."""
    if tensor.layout is not torch.strided or tensor.dim() < 2 or min(tensor.shape[-2:]) < 2:
        return None
    return tensor.mT.contiguous().mT if tensor.is_contiguous() else tensor.contiguous()


def _restride(site: PythonSite, call: Call, result: Any) -> Plan | None:
    tensor = tensor_of(site, call, result)
    made = None if tensor is None else _restrided(tensor.detach())
    if tensor is None or made is None:
        return None
    if site.kind in _INPLACE:
        return lambda: (setattr(tensor, "data", made), result)[1]
    if site.kind == "leaf":
        return lambda: nn.Parameter(made, tensor.requires_grad)
    place, leaves, spec = _last(result)
    return lambda: tree_unflatten([*leaves[:place], _restrided(tensor), *leaves[place + 1 :]], spec)


# -- modules, Parameters and dictionaries -------------------------------------------------------------------------------


def _of_module(choose: Callable[[nn.Module, Call], Callable[[], Any] | None]) -> Planner:
    """What is done to the module of a call."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        module = site.module(call.given, result)
        if module is None or "_parameters" not in vars(module):
            return None
        done = choose(module, call)
        return None if done is None else lambda: (done(), result)[1]

    return planned


def _named(module: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Every name of a Parameter, with the module that has it."""
    return [
        (part, name, each) for part in module.modules() for name, each in part._parameters.items() if each is not None
    ]


def _copied(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().clone(), parameter.requires_grad)


def _untie(module: nn.Module, call: Call) -> Callable[[], Any] | None:
    named = _named(module)
    again = [(part, name, each) for k, (part, name, each) in enumerate(named) if any(e is each for *_, e in named[:k])]
    if not again:
        return None
    part, name, each = again[-1]
    return lambda: part._parameters.__setitem__(name, _copied(each))


def _tie(module: nn.Module, call: Call) -> Callable[[], Any] | None:
    named = _named(module)
    for k, (part, name, each) in enumerate(named):
        for *_, other in named[:k]:
            if other is not each and other.shape == each.shape and other.dtype == each.dtype:
                return lambda part=part, name=name, other=other: part._parameters.__setitem__(name, other)  # type: ignore[misc]
    return None


def _replace(module: nn.Module, call: Call) -> Callable[[], Any] | None:
    """Every name of the last Parameter has another object with the same values."""
    named = _named(module)
    if not named:
        return None
    last = named[-1][2]
    made = _copied(last)
    return lambda: [part._parameters.__setitem__(name, made) for part, name, each in named if each is last]


def _freeze(module: nn.Module, call: Call) -> Callable[[], Any] | None:
    named = _named(module)
    last = named[-1][2] if named else None
    return None if last is None or not last.is_leaf else lambda: last.requires_grad_(not last.requires_grad)


def _forget_gradient(module: nn.Module, call: Call) -> Callable[[], Any] | None:
    having = [each for *_, each in _named(module) if each.grad is not None]
    return (lambda: setattr(having[-1], "grad", None)) if having else None


def _keep_gradient(module: nn.Module, call: Call) -> Callable[[], Any] | None:
    for _, each, grad, values in reversed(call.before.get("parameters", [])):
        if grad is not None and (each.grad is None or bool((each.grad.to_dense() != values.to_dense()).any())):
            return lambda each=each, values=values: setattr(each, "grad", values)  # type: ignore[misc]
    return None


def _mode(module: nn.Module, call: Call) -> Callable[[], Any] | None:
    *_, last = module.modules()
    return lambda: setattr(last, "training", not last.training)


def _attribute(name: str, value: Any) -> Callable[[nn.Module, Call], Callable[[], Any] | None]:
    """The first part that has an attribute with another value gets this one."""

    def choose(module: nn.Module, call: Call) -> Callable[[], Any] | None:
        for part in module.modules():
            if name in vars(part) and vars(part)[name] != value:
                return lambda part=part: vars(part).__setitem__(name, value)  # type: ignore[misc]
        return None

    return choose


def _share(module: nn.Module, call: Call) -> Callable[[], Any] | None:
    """The last Parameter of a copy lies in the original's memory."""
    original = next((each for each in call.given.values() if isinstance(each, nn.Module)), None)
    if original is None or original is module:
        return None
    ours, theirs = _named(module), _named(original)
    if not ours or len(ours) != len(theirs) or ours[-1][2].shape != theirs[-1][2].shape:
        return None
    return lambda: setattr(ours[-1][2], "data", theirs[-1][2].data)


def _leaf(make: Callable[[Tensor], Tensor]) -> Planner:
    return lambda site, call, result: (
        (lambda: make(result)) if isinstance(result, nn.Parameter) and result.is_leaf else None
    )


def _mapping(change: Callable[[list[tuple[Any, Any]]], list[tuple[Any, Any]] | None]) -> Planner:
    """The pairs that are returned, changed."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        changed = change(_pairs(result))
        return None if changed is None else lambda: _as(result, changed)

    return planned


def _swapped(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]] | None:
    (one, first), (other, last) = (pairs[0], pairs[-1]) if pairs else ((0, None), (0, None))
    return None if first is last else [(one, last), *pairs[1:-1], (other, first)]


def _cloned(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]] | None:
    for k, (name, value) in reversed(list(enumerate(pairs))):
        if isinstance(value, torch.Tensor):
            return [*pairs[:k], (name, value.detach().clone()), *pairs[k + 1 :]]
    return None


def _state(choose: Callable[[dict[Any, Any], Any], bool]) -> Planner:
    """What an optimizer keeps of its last Parameter, changed."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        kept = call.given["self"].state
        last = list(kept)[-1] if kept else None
        return None if last is None or not kept[last] else lambda: (choose(kept, last), result)[1]

    return planned


# -- arguments ----------------------------------------------------------------------------------------------------------


def _number(change: Callable[[Any], Any]) -> Callable[[Call, Any], Any]:
    return lambda call, value: (
        change(value) if isinstance(value, (float, int)) and not isinstance(value, bool) and value else value
    )


#: What an argument is given as, by a word.
_WORDS: Mapping[str, Callable[[Call, Any], Any]] = {
    "not": lambda call, value: not value if isinstance(value, bool) else value,
    "zero": _number(lambda value: type(value)(0)),
    "double": _number(lambda value: 2 * value),
    "next": lambda call, value: value + 1 if type(value) is int else value,
    "none": lambda call, value: None,
    "detached": lambda call, value: value.detach() if getattr(value, "requires_grad", False) else value,
    "sum": lambda call, value: "sum" if isinstance(value, str) else value,
    "last": lambda call, value: value[:-1] if isinstance(value, (list, tuple)) and value else value,
}


def _gives() -> dict[str, PythonDamage]:
    """Each argument with what it is given as; a site has those whose argument it takes."""
    texts = (
        *(
            "weight_decay=zero",
            "maximize=not",
            "lr=double",
            "eps=double",
            "momentum=zero",
            "nesterov=not",
            "amsgrad=not",
        ),
        *(
            "centered=not",
            "dampening=zero",
            "lr_decay=zero",
            "beta1=zero",
            "decoupled_weight_decay=not",
            "lambd=double",
        ),
        *("momentum_decay=zero", "rho=zero", "alpha=zero", "capturable=not", "bias=none", "input=detached"),
        *("weight=detached", "padding_idx=none", "max_norm=none", "scale_grad_by_freq=not", "sparse=not", "freeze=not"),
        *("strict=not", "assign=not", "set_to_none=not", "requires_grad=not", "mode=not", "keep_vars=not"),
        *("remove_duplicate=not", "recurse=not", "label_smoothing=zero", "reduction=sum", "ignore_index=next"),
        *("per_sample_weights=none", "include_last_offset=not", "norm_type=double", "max_norm=double", "std=double"),
        *("mean=next", "a=zero", "gain=double", "b=double", "val=double", "clip_value=double", "sparsity=double"),
        *(
            "_freeze=not",
            "use_buffers=not",
            "tie_weights=not",
            "_weight=none",
            "nonlinearity=sum",
        ),
    )
    made = {}
    for text in texts:
        argument, _, word = text.partition("=")
        made[f"give({text})"] = PythonDamage(f"give({text})", argument=argument, change=_WORDS[word])
    for argument in ("input", "weight"):
        change: Any = lambda call, value, name=argument: (  # noqa: E731
            value if value is None else (memory(name)(call) or {name: value})[name]
        )
        made[f"give({argument}=memory)"] = PythonDamage(f"give({argument}=memory)", argument=argument, change=change)
    return made


_VALUES, _MODULES = ("value", "transform"), ("module",)

PYTHON_DAMAGES: Mapping[str, PythonDamage] = {
    **{
        each.name: PythonDamage(each.name, _rows(each.spoil), _ROWS, each.needs, forbids=each.forbids)
        for each in DAMAGES.values()
        if each.spoil is not None and not each.sites
    },
    **{
        damage.name: damage
        for damage in (
            PythonDamage("skip(first)", _written(0, lambda before, now: before), _INPLACE),
            PythonDamage("skip(last)", _written(-1, lambda before, now: before), _INPLACE),
            PythonDamage("skip(all)", _written(_ALL, lambda before, now: before), _INPLACE),
            PythonDamage("skip(states)", _written(_ALL, lambda before, now: before, "states"), argument="grads"),
            PythonDamage("twice(last)", _written(-1, lambda before, now: 2 * now - before), argument="grads"),
            PythonDamage("spill(memory)", _spill, _INPLACE),
            PythonDamage("spill(grads)", _gradients, argument="grads"),
            PythonDamage("double(gradient)", _gradient(lambda out: 2 * out - out.detach()), _VALUES),
            PythonDamage("zero(gradient)", _gradient(lambda out: out.detach() + 0 * out), _VALUES),
            PythonDamage("restride", _restride, (*_VALUES, "leaf", "module")),
            PythonDamage("untie", _of_module(_untie), _MODULES, ("tied",)),
            PythonDamage("tie", _of_module(_tie), _MODULES, ("parameters>=2",)),
            PythonDamage("replace(last)", _of_module(_replace), _MODULES, ("parameters>=1",)),
            PythonDamage("freeze(last)", _of_module(_freeze), _MODULES, ("parameters>=1",)),
            PythonDamage("drop(gradient)", _of_module(_forget_gradient), _MODULES, ("grads>=1",)),
            PythonDamage("keep(gradient)", _of_module(_keep_gradient), _MODULES, ("grads>=1",)),
            PythonDamage("mode(last)", _of_module(_mode), _MODULES),
            PythonDamage("set(padding_idx=none)", _of_module(_attribute("padding_idx", None)), _MODULES, ("padding",)),
            PythonDamage("set(max_norm=none)", _of_module(_attribute("max_norm", None)), _MODULES, ("max_norm",)),
            PythonDamage("share(last)", _of_module(_share), _MODULES),
            PythonDamage(
                "leaf(clone)", _leaf(lambda made: nn.Parameter(made.detach().clone(), made.requires_grad)), ("leaf",)
            ),
            PythonDamage("leaf(frozen)", _leaf(lambda made: made.requires_grad_(not made.requires_grad)), ("leaf",)),
            PythonDamage(
                "leaf(float32)", _leaf(lambda made: nn.Parameter(made.detach().float(), made.requires_grad)), ("leaf",)
            ),
            PythonDamage("drop(last)", _mapping(lambda pairs: pairs[:-1] if pairs else None), ("mapping",)),
            PythonDamage("drop(first)", _mapping(lambda pairs: pairs[1:] if pairs else None), ("mapping",)),
            PythonDamage("repeat(last)", _mapping(lambda pairs: [*pairs, pairs[-1]] if pairs else None), ("mapping",)),
            PythonDamage("reverse", _mapping(lambda pairs: pairs[::-1] if len(pairs) > 1 else None), ("mapping",)),
            PythonDamage("swap(values)", _mapping(_swapped), ("mapping",)),
            PythonDamage("clone(last)", _mapping(_cloned), ("mapping",)),
            PythonDamage("drop(state)", _state(lambda kept, last: bool(kept.pop(last))), ("optimizer",)),
        )
    },
    **_gives(),
}

__all__ = ["PYTHON_DAMAGES", "Damage", "Plan", "PythonDamage", "snapshot", "tensor_of"]
