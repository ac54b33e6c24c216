"""Damages at sites in Python: what a fault does to a call, a closed list, `PYTHON_DAMAGES`.

A damage is planned from a call that was made and what it returned.  The plan is None where nothing would change, so that a
clean run tells which calls a fault changes without doing it.  Damages of rows are those of the kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from selfcheck.damages import DAMAGES, Call, Spoil, differs, memory
from selfcheck.python_sites import PythonSite
from selfcheck.sites import Tensor, matrix

#: What is to be done after a call; it gives what is returned instead.
Plan = Callable[[], Any]
Planner = Callable[[PythonSite, Call, Any], "Plan | None"]
Pairs = list[tuple[Any, Any]]
_VALUES, _INPLACE = ("value", "transform"), ("written", "module", "optimizer")
_ALL, _NAMES = 99, ("", "params_", "data_", "self_", "weight_", "tensor_", "param_", "input_", "embeddings_", "x_")


_OF_ORDER = frozenset({"shift", "swap", "stale", "ulp(last)"})
_OF_SEVERAL = frozenset({"shift", "swap", "repeat(first)"})


class PythonDamage(NamedTuple):
    """A damage by its name, at sites of some kinds or names, or that take an ``argument``.

    It has a ``planner`` of what comes after a call, or ``change`` gives the argument that is passed instead, or the same;
    ``needs`` are conditions without which nothing changes, and ``forbids`` some with which nothing does.
    """

    name: str
    planner: Planner | None = None
    at: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    forbids: tuple[str, ...] = ()
    argument: str = ""
    change: Callable[[Call, Any], Any] | None = None

    def of(self, site: PythonSite) -> bool:
        """Whether a site has this damage."""
        if self.argument:
            return self.argument in site.signature.parameters and site.kind != "transform"
        if self.name in _OF_ORDER and site.name.startswith("nn.init."):
            return False  # random values in another order are as good, and constants are the same
        return site.kind in self.at or site.name in self.at

    def conditions(self, site: PythonSite) -> list[str]:
        """What a call must meet for the damage to change anything."""
        several = site.kind == "numbers" and self.name in _OF_SEVERAL
        return [*self.needs, *(["groups>=2"] if several else [])]

    def given(self, call: Call) -> dict[str, Any]:
        """The arguments that a call is made with instead of its own; none where nothing changes."""
        value = call.given.get(self.argument)
        changed = value if self.change is None or value is None else self.change(call, value)
        return {} if changed is value else {self.argument: changed}

    def plan(self, site: PythonSite, call: Call, result: Any) -> Plan | None:
        """What is to be done after a call."""
        return None if self.planner is None else self.planner(site, call, result)


# -- tensors of a call --------------------------------------------------------------------------------------------------


def snapshot(site: PythonSite, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a call may change, as it was before: the values of tensors, and the gradients of a module's Parameters."""
    if site.kind not in _INPLACE:
        return {}
    written = site.written(given, None)
    states = [
        each
        for name, value in given.items()
        for each in (value if isinstance(value, list) else ())
        if name not in {"grads", "state_steps", site.writes} and isinstance(each, torch.Tensor)
    ]
    return {
        "written": [(each, each.detach().clone()) for each in written],
        "states": [(each, each.detach().clone()) for each in states],
        "grads": [(each, None if each.grad is None else each.grad.clone()) for each in written if each.is_leaf],
    }


def _new(made: Tensor, values: Tensor) -> nn.Parameter:
    """A Parameter of other values, frozen if the one before was."""
    return nn.Parameter(values, made.requires_grad)


def _last(result: Any) -> tuple[int, list[Any], Any]:
    """The place of the last tensor in a result, or -1, its leaves and how they are put together."""
    leaves, spec = tree_flatten(result)
    places = [place for place, each in enumerate(leaves) if isinstance(each, torch.Tensor)]
    return (places[-1] if places else -1), leaves, spec


def tensor_of(site: PythonSite, call: Call, result: Any) -> Tensor | None:
    """The tensor of a call whose rows are spoiled: the first that is written, or the last that is returned."""
    if site.kind in _INPLACE:
        return next(iter(site.written(call.given, result)), None)
    if site.kind == "numbers":
        numbers = [result] if isinstance(result, (int, float)) else list(result)
        plain = all(type(each) in {int, float} for each in numbers)
        return torch.tensor(numbers, dtype=torch.float64) if plain else None
    place, leaves, _ = _last(_values(_pairs(result)) if site.kind == "mapping" else result)
    return None if place < 0 else leaves[place]


def _put(site: PythonSite, result: Any, tensor: Tensor, values: Tensor) -> Any:
    """What is returned with other values in the tensor of a call; values alone change, and the graph stays."""
    if site.kind in _INPLACE:
        tensor.data.copy_(values)
        return result
    if site.kind == "leaf":
        return _new(tensor, values)
    if site.kind == "numbers":
        return values.tolist()
    changed = tensor.clone()
    changed.data.copy_(values)
    if site.kind == "mapping":
        pairs = _pairs(result)
        return _as(
            result, [(name, value) for (name, _), value in zip(pairs, _with_last(_values(pairs), changed), strict=True)]
        )
    return _with_last(result, changed)


def _with_last(result: Any, tensor: Any) -> Any:
    place, leaves, spec = _last(result)
    return tree_unflatten([*leaves[:place], tensor, *leaves[place + 1 :]], spec)


def _rows(spoil: Spoil, least: int) -> Planner:
    """A damage of kernels, to the rows of the tensor of a call."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        tensor = tensor_of(site, call, result)
        if tensor is None or tensor.layout is not torch.strided or not tensor.numel() or not tensor.is_floating_point():
            return None
        rows = matrix(tensor)
        spoiled = spoil(call, rows) if len(rows) >= least else None
        if spoiled is None or not differs(tensor, spoiled.reshape(tensor.shape)):
            return None
        return lambda: _put(site, result, tensor, spoiled.reshape(tensor.shape))

    return planned


def _written(place: int, change: Callable[[Tensor, Tensor], Tensor], of: str = "written") -> Planner:
    """The tensor at a place among those that are written, or all, changed by what it was before and is now."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        kept = call.before[of] if place == _ALL else call.before[of][place:][:1]
        changed = [(each, change(old, each.detach())) for each, old in kept if each.shape == old.shape]
        changed = [(each, values) for each, values in changed if each.layout is torch.strided and differs(each, values)]
        if not changed:
            return None
        return lambda: ([each.data.copy_(values) for each, values in changed], result)[1]

    return planned


def _spill(site: PythonSite, call: Call, result: Any) -> Plan | None:
    """The element behind the first tensor in its storage is changed."""
    tensor = tensor_of(site, call, result)
    if tensor is None or tensor.layout is not torch.strided or not tensor.numel():
        return None
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    place = tensor.storage_offset() + last + 1
    if (place + 1) * tensor.element_size() > tensor.untyped_storage().nbytes():
        return None
    return lambda: (tensor.detach().as_strided((1,), (1,), place).fill_(3), result)[1]


def _read_gradient(site: PythonSite, call: Call, result: Any) -> Plan | None:
    """The first gradient is doubled, which a step only reads."""
    found = call.given["grads"]
    if not found or found[0].layout is not torch.strided or not found[0].any():
        return None
    return lambda: (found[0].data.mul_(2), result)[1]


def _gradient(change: Callable[[Tensor], Tensor]) -> Planner:
    """What is returned has the same values, and another gradient."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        tensor = tensor_of(site, call, result)
        if tensor is None or not tensor.requires_grad or not tensor.numel():
            return None
        return lambda: _with_last(result, change(tensor))

    return planned


def _restride(site: PythonSite, call: Call, result: Any) -> Plan | None:
    """The same values in another memory layout."""
    tensor = tensor_of(site, call, result)
    if tensor is None or tensor.layout is not torch.strided or tensor.dim() < 2 or min(tensor.shape[-2:]) < 2:
        return None
    made = tensor.mT.contiguous().mT if tensor.is_contiguous() else tensor.contiguous()

    def put() -> Any:
        if site.kind in _INPLACE:
            tensor.data = made.detach()
            return result
        return _new(tensor, made.detach()) if site.kind == "leaf" else _with_last(result, made)

    return put


def _leaf(make: Callable[[Tensor], Tensor]) -> Planner:
    return lambda site, call, result: (lambda: make(result)) if isinstance(result, nn.Parameter) else None


# -- modules and dictionaries -------------------------------------------------------------------------------------------

Names = list[tuple[nn.Module, str, nn.Parameter]]


def _of_module(choose: Callable[[nn.Module, Names, Call], Plan | None]) -> Planner:
    """What is done to the module of a call, which is told with every name of a Parameter and who has it."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        module = site.module(call.given, result)
        if module is None or "_parameters" not in vars(module):
            return None
        parts = [(part, part._parameters) for part in module.modules()]
        names = [(part, name, each) for part, held in parts for name, each in held.items() if each is not None]
        done = choose(module, names, call)
        return None if done is None else lambda: (done(), result)[1]

    return planned


def _renamed(names: Names, made: nn.Parameter) -> Plan:
    """Names that stand for another Parameter."""
    return lambda: [part._parameters.update({name: made}) for part, name, _ in names]


def _untie(module: nn.Module, names: Names, call: Call) -> Plan | None:
    again = [each for k, each in enumerate(names) if any(other[2] is each[2] for other in names[:k])]
    return _renamed(again[-1:], _new(again[-1][2], again[-1][2].detach().clone())) if again else None


def _tie(module: nn.Module, names: Names, call: Call) -> Plan | None:
    for k, (*_, each) in enumerate(names):
        for *_, other in names[:k]:
            if other is not each and (other.shape, other.dtype) == (each.shape, each.dtype):
                return _renamed([names[k]], other)
    return None


def _replace(module: nn.Module, names: Names, call: Call) -> Plan | None:
    """Every name of the last Parameter has another object with the same values."""
    last = [each for each in names if each[2] is names[-1][2]]
    return _renamed(last, _new(last[0][2], last[0][2].detach().clone())) if last else None


def _freeze(module: nn.Module, names: Names, call: Call) -> Plan | None:
    last = names[-1][2] if names else None
    return None if last is None or not last.is_leaf else lambda: last.requires_grad_(not last.requires_grad)


def _without_gradient(module: nn.Module, names: Names, call: Call) -> Plan | None:
    having = [each for *_, each in names if each.grad is not None]
    return (lambda: object.__setattr__(having[-1], "grad", None)) if having else None


def _with_gradient(module: nn.Module, names: Names, call: Call) -> Plan | None:
    """The last gradient that is another now stays what it was."""
    for each, grad in reversed(call.before["grads"]):
        if grad is not None and (each.grad is None or bool((each.grad.to_dense() != grad.to_dense()).any())):
            kept = (each, grad)
            return lambda: object.__setattr__(kept[0], "grad", kept[1])
    return None


def _mode(module: nn.Module, names: Names, call: Call) -> Plan | None:
    *_, last = module.modules()
    return lambda: vars(last).update(training=not last.training)


def _without(attribute: str) -> Callable[[nn.Module, Names, Call], Plan | None]:
    """The first part that has an attribute has None instead."""

    def choose(module: nn.Module, names: Names, call: Call) -> Plan | None:
        having = [part for part in module.modules() if vars(part).get(attribute) is not None]
        return (lambda: vars(having[0]).update({attribute: None})) if having else None

    return choose


def _share(module: nn.Module, names: Names, call: Call) -> Plan | None:
    """The last Parameter of a copy lies in the original's memory."""
    original = next((each for each in call.given.values() if isinstance(each, nn.Module) and each is not module), None)
    theirs = [] if original is None else list(original.parameters())
    if not theirs or not names or theirs[-1].shape != names[-1][2].shape:
        return None
    return _renamed(names[-1:], _new(names[-1][2], theirs[-1].data))


def _values(pairs: Pairs) -> list[Any]:
    return [value for _, value in pairs]


def _pairs(result: Any) -> Pairs:
    """The names and values of a dictionary, or the pairs that they are already."""
    if isinstance(result, tuple):  # dictionaries, of which the first is spoiled
        return list(result[0].items())
    return list(result.items()) if isinstance(result, Mapping) else list(result)


def _as(result: Any, pairs: Pairs) -> Any:
    """Pairs as what was returned: a dictionary with its attributes, or an iterator."""
    if isinstance(result, tuple):
        return (_as(result[0], pairs), *result[1:])
    if not isinstance(result, dict):
        return iter(pairs)
    made = type(result)(pairs)
    getattr(made, "__dict__", {}).update(getattr(result, "__dict__", {}))
    return made


def _mapping(least: int, change: Callable[[Pairs], Pairs | None]) -> Planner:
    """The pairs that are returned, changed, if there are enough."""

    def planned(site: PythonSite, call: Call, result: Any) -> Plan | None:
        pairs = _pairs(result)
        changed = change(pairs) if len(pairs) >= least else None
        return None if changed is None else lambda: _as(result, changed)

    return planned


def _swapped(pairs: Pairs) -> Pairs | None:
    (one, first), *between, (other, last) = pairs
    return None if first is last else [(one, last), *between, (other, first)]


def _cloned(pairs: Pairs) -> Pairs | None:
    tensors = [k for k, (_, value) in enumerate(pairs) if isinstance(value, torch.Tensor)]
    cloned = [(name, value.detach().clone() if k in tensors[-1:] else value) for k, (name, value) in enumerate(pairs)]
    return cloned if tensors else None


def _forgotten(site: PythonSite, call: Call, result: Any) -> Plan | None:
    """What an optimizer keeps of its last Parameter is lost."""
    kept = call.given["self"].state
    return (lambda: (kept.pop(list(kept)[-1]), result)[1]) if kept else None


# -- arguments ----------------------------------------------------------------------------------------------------------


def _scaled(factor: int) -> Callable[[Call, Any], Any]:
    return lambda call, value: (
        type(value)(factor * value) if isinstance(value, (int, float)) and type(value) is not bool and value else value
    )


def _flat(name: str) -> Callable[[Call, Any], Any]:
    return lambda call, value: (memory(name)(call) or {name: value})[name]


#: What an argument is given as, by a word, and the arguments; a site has those that it takes.
_GIVEN: Mapping[str, tuple[Callable[[Call, Any], Any], str]] = {
    "zero": (
        _scaled(0),
        "weight_decay momentum dampening lr_decay beta1 momentum_decay rho alpha label_smoothing a",
    ),
    "double": (_scaled(2), "lr eps lambd norm_type max_norm std gain b val clip_value sparsity"),
    "next": (lambda call, value: value + 1 if type(value) in {int, float} else value, "ignore_index mean"),
    "not": (
        lambda call, value: not value if isinstance(value, bool) else value,
        "maximize nesterov amsgrad centered decoupled_weight_decay capturable scale_grad_by_freq sparse freeze _freeze strict "
        "assign set_to_none requires_grad mode keep_vars remove_duplicate recurse include_last_offset use_buffers tie_weights",
    ),
    "none": (lambda call, value: None, "bias padding_idx max_norm per_sample_weights _weight"),
    "detached": (lambda call, value: value.detach() if value.requires_grad else value, "input weight"),
    "sum": (lambda call, value: "sum", "reduction"),
}


def _gives() -> list[PythonDamage]:
    found = [
        PythonDamage(
            f"give({name}={word})",
            needs=(f"{name}>0",) if word in {"zero", "double"} else ("momentum>0",) * (name == "nesterov"),
            forbids=(f"{name}=None", f"{name}_frozen", f"{name}={word}"),
            argument=name,
            change=change,
        )
        for word, (change, names) in _GIVEN.items()
        for name in names.split()
    ]
    dense = {name: (f"{name}_layout=contiguous",) for name in ("input", "weight")}
    return found + [
        PythonDamage(f"give({name}=memory)", forbids=forbidden, argument=name, change=_flat(name))
        for name, forbidden in dense.items()
    ]


def _narrow(*dtypes: str) -> tuple[str, ...]:
    return tuple(f"{name}dtype={dtype}" for name in _NAMES for dtype in dtypes)


_CASTS = {"cast(bfloat16)": _narrow("bfloat16"), "cast(float32)": _narrow("float32", "float16", "bfloat16")}
_KINDS = (*_VALUES, *_INPLACE, "leaf", "numbers", "mapping")
_SKIPS = ("written", "Module.load_state_dict", "Module._apply", "Module.to", "AveragedModel.update_parameters")
#: Modules that keep their Parameters; a copy's are new ones anyway.
_KEEPING = (*_SKIPS[1:], "Module.train", "Module.requires_grad_", "Module.zero_grad", "Module.apply")
_ORDERED = ("Module.state_dict", "Module.named_parameters", "Module.named_modules", "Module.named_buffers")
_MODULES, _COPIES = ("module",), ("copy.deepcopy", "AveragedModel.__init__")


PYTHON_DAMAGES: Mapping[str, PythonDamage] = {
    damage.name: damage
    for damage in (
        *(
            PythonDamage(
                each.name, _rows(each.spoil, each.rows), _KINDS, ("earlier>=1",) * (each.name == "stale"),
                _CASTS.get(each.name, ()),
            )
            for each in DAMAGES.values()
            if each.spoil is not None and not each.sites
        ),
        PythonDamage("skip(first)", _written(0, lambda before, now: before), _SKIPS),
        PythonDamage("skip(last)", _written(-1, lambda before, now: before), _SKIPS),
        PythonDamage("skip(all)", _written(_ALL, lambda before, now: before), _SKIPS),
        PythonDamage("skip(states)", _written(_ALL, lambda before, now: before, "states"), argument="grads"),
        PythonDamage("twice(last)", _written(-1, lambda before, now: 2 * now - before), argument="grads"),
        PythonDamage("spill(memory)", _spill, _SKIPS),
        PythonDamage("spill(grads)", _read_gradient, argument="grads"),
        PythonDamage("double(gradient)", _gradient(lambda out: 2 * out - out.detach()), _VALUES),
        PythonDamage("zero(gradient)", _gradient(lambda out: out.detach() + 0 * out), _VALUES),
        PythonDamage("restride", _restride, (*_VALUES, "leaf", "module")),
        PythonDamage("untie", _of_module(_untie), _MODULES, ("tied",)),
        PythonDamage("tie", _of_module(_tie), _MODULES, ("parameters>=2",)),
        PythonDamage("replace(last)", _of_module(_replace), _KEEPING, ("parameters>=1",)),
        PythonDamage("freeze(last)", _of_module(_freeze), _MODULES, ("parameters>=1",)),
        PythonDamage("drop(gradient)", _of_module(_without_gradient), _MODULES, ("grads>=1",)),
        PythonDamage("keep(gradient)", _of_module(_with_gradient), ("Module.zero_grad",), ("grads>=1",)),
        PythonDamage("mode(last)", _of_module(_mode), _MODULES),
        PythonDamage("drop(padding_idx)", _of_module(_without("padding_idx")), _MODULES, ("padding",)),
        PythonDamage("drop(max_norm)", _of_module(_without("max_norm")), _MODULES, ("max_norm",)),
        PythonDamage("share(last)", _of_module(_share), _COPIES),
        PythonDamage("leaf(clone)", _leaf(lambda made: _new(made, made.detach().clone())), ("leaf",)),
        PythonDamage("leaf(frozen)", _leaf(lambda made: made.requires_grad_(not made.requires_grad)), ("leaf",)),
        PythonDamage("leaf(float32)", _leaf(lambda made: _new(made, made.detach().float())), ("leaf",)),
        PythonDamage("drop(last)", _mapping(1, lambda pairs: pairs[:-1]), ("mapping",)),
        PythonDamage("drop(first)", _mapping(1, lambda pairs: pairs[1:]), ("mapping",)),
        PythonDamage("repeat(last)", _mapping(1, lambda pairs: [*pairs, pairs[-1]]), ("Module.named_parameters",)),
        PythonDamage("reverse", _mapping(2, lambda pairs: pairs[::-1]), _ORDERED),
        PythonDamage("swap(values)", _mapping(2, _swapped), ("mapping",)),
        PythonDamage("clone(last)", _mapping(1, _cloned), ("mapping",)),
        PythonDamage("drop(state)", _forgotten, ("optimizer",)),
        *_gives(),
    )
}  # fmt: skip
