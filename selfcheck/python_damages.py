"""Damages at sites in Python: what a fault does to a call, a closed list, `PYTHON_DAMAGES`.

Damages of rows are those of the kernels.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from selfcheck.damages import Damage, given, memory
from selfcheck.kernels import DAMAGES
from selfcheck.site import Call, Site
from selfcheck.tensor_plans import (
    ALL,
    Pairs,
    Plan,
    Planner,
    as_returned,
    doing,
    gradient_into_parameter,
    of_gradient,
    of_leaf,
    of_written,
    pairs_of,
    parameter_of,
    restride,
    spill,
)

_VALUES = ("value", "transform")
#: How the names of facts of a dtype begin.
_NAMES = ("", *(f"{name}_" for name in (
    "to", "params", "data", "self", "weight", "tensor", "param", "input", "embeddings",
    "x", "weight_v", "X", "outputs", "args", "primals",
)))  # fmt: skip

# -- what is done to the module of a call, or to the dictionary that it returns -----------------------------------------

Names = list[tuple[nn.Module, str, nn.Parameter]]


def of_module(choose: Callable[[nn.Module, Names, Call], Plan | None]) -> Planner:
    """What is done to the module of a call, which is told with every name of a Parameter and who has it."""

    def planned(site: Site, call: Call, result: Any) -> Plan | None:
        module = site.module(call.given, result)
        if module is None or "_parameters" not in vars(module):
            return None
        parts = [(part, part._parameters) for part in module.modules()]
        names = [(part, name, each) for part, held in parts for name, each in held.items() if each is not None]
        done = choose(module, names, call)
        return None if done is None else doing(done, result)

    return planned


def _renamed(names: Names, made: nn.Parameter) -> Plan:
    """Names that stand for another Parameter."""
    return lambda: [part._parameters.update({name: made}) for part, name, _ in names]


def untie(module: nn.Module, names: Names, call: Call) -> Plan | None:
    again = [each for k, each in enumerate(names) if any(other[2] is each[2] for other in names[:k])]
    return _renamed(again[-1:], parameter_of(again[-1][2], again[-1][2].detach().clone())) if again else None


def tie(module: nn.Module, names: Names, call: Call) -> Plan | None:
    for k, (*_, each) in enumerate(names):
        for *_, other in names[:k]:
            if other is not each and (other.shape, other.dtype) == (each.shape, each.dtype):
                return _renamed([names[k]], other)
    return None


def replace(module: nn.Module, names: Names, call: Call) -> Plan | None:
    """Every name of the last Parameter has another object with the same values."""
    last = [each for each in names if each[2] is names[-1][2]]
    return _renamed(last, parameter_of(last[0][2], last[0][2].detach().clone())) if last else None


def freeze(module: nn.Module, names: Names, call: Call) -> Plan | None:
    last = names[-1][2] if names else None
    return None if last is None or not last.is_leaf else lambda: last.requires_grad_(not last.requires_grad)


def without_gradient(module: nn.Module, names: Names, call: Call) -> Plan | None:
    having = [each for *_, each in names if each.grad is not None]
    return (lambda: object.__setattr__(having[-1], "grad", None)) if having else None


def with_gradient(module: nn.Module, names: Names, call: Call) -> Plan | None:
    """The last gradient that is another now stays what it was."""
    for each, grad in reversed(call.before["grads"]):
        if grad is not None and (each.grad is None or bool((each.grad.to_dense() != grad.to_dense()).any())):
            kept = (each, grad)
            return lambda: object.__setattr__(kept[0], "grad", kept[1])
    return None


def other_mode(module: nn.Module, names: Names, call: Call) -> Plan | None:
    *_, last = module.modules()
    return lambda: vars(last).update(training=not last.training)


def without(attribute: str) -> Callable[[nn.Module, Names, Call], Plan | None]:
    """The first part that has an attribute has None instead."""

    def choose(module: nn.Module, names: Names, call: Call) -> Plan | None:
        having = [part for part in module.modules() if vars(part).get(attribute) is not None]
        return (lambda: vars(having[0]).update({attribute: None})) if having else None

    return choose


def share(module: nn.Module, names: Names, call: Call) -> Plan | None:
    """The last Parameter of a copy lies in the original's memory."""
    original = next((each for each in call.given.values() if isinstance(each, nn.Module) and each is not module), None)
    theirs = [] if original is None else list(original.parameters())
    if not theirs or not names or theirs[-1].shape != names[-1][2].shape:
        return None
    return _renamed(names[-1:], parameter_of(names[-1][2], theirs[-1].data))


def of_mapping(least: int, change: Callable[[Pairs], Pairs | None]) -> Planner:
    """The pairs that are returned, changed, if there are enough."""

    def planned(site: Site, call: Call, result: Any) -> Plan | None:
        pairs = pairs_of(result)
        changed = change(pairs) if len(pairs) >= least else None
        return None if changed is None else lambda: as_returned(result, changed)

    return planned


def swapped(pairs: Pairs) -> Pairs | None:
    (one, first), *between, (other, last) = pairs
    return None if first is last else [(one, last), *between, (other, first)]


def cloned(pairs: Pairs) -> Pairs | None:
    tensors = [k for k, (_, value) in enumerate(pairs) if isinstance(value, torch.Tensor)]
    cloned = [(name, value.detach().clone() if k in tensors[-1:] else value) for k, (name, value) in enumerate(pairs)]
    return cloned if tensors else None


def forgotten(site: Site, call: Call, result: Any) -> Plan | None:
    """What an optimizer keeps of its last Parameter is lost."""
    kept = call.given["self"].state
    return doing(lambda: kept.pop(list(kept)[-1]), result) if kept else None


# -- arguments ----------------------------------------------------------------------------------------------------------

#: Changes the value of an argument, or gives it back.
Change = Callable[[Any], Any]


def _scaled(factor: int) -> Change:
    return lambda value: (
        type(value)(factor * value)
        if isinstance(value, (int, float)) and type(value) is not bool and value and math.isfinite(value)
        else value
    )


#: What an argument is given as, by a word, and the arguments; a site has those that it takes.
_GIVEN: Mapping[str, tuple[Change, str]] = {
    "zero": (
        _scaled(0),
        "weight_decay momentum dampening lr_decay beta1 momentum_decay rho alpha label_smoothing a",
    ),
    "double": (_scaled(2), "lr eps lambd norm_type max_norm std gain b val clip_value sparsity"),
    "next": (lambda value: value + 1 if type(value) in {int, float} else value, "ignore_index mean"),
    "not": (
        lambda value: not value if isinstance(value, bool) else value,
        "maximize nesterov amsgrad centered decoupled_weight_decay capturable scale_grad_by_freq sparse freeze assign "
        "set_to_none requires_grad mode keep_vars remove_duplicate recurse include_last_offset use_buffers tie_weights",
    ),
    "none": (lambda value: None, "bias padding_idx max_norm per_sample_weights _weight"),
    "detached": (lambda value: value.detach() if value.requires_grad else value, "input weight"),
    "sum": (lambda value: "sum", "reduction"),
}


def _strict(call: Call) -> dict[str, Any]:
    """Names that do not fit are to be refused; a call that gave a result where they are refused anyway had none."""
    module, state = call.given.get("self"), call.given.get("state_dict")
    fits = isinstance(module, nn.Module) and state is not None and set(module.state_dict()) == set(state)
    return {} if call.given["strict"] or fits else {"strict": True}


def _gives() -> Iterator[Damage]:
    for word, (change, names) in _GIVEN.items():
        for name in names.split():
            needs = (f"{name}>0",) if word in {"zero", "double"} else ("momentum>0",) * (name == "nesterov")
            alone = ("parts=1",) * (name == "recurse")  # a module without others has nothing else to recurse into
            forbids = (f"{name}=None", f"{name}_frozen", f"{name}={word}", *alone)
            yield given(name, word, change, needs=needs, forbids=forbids)
    yield Damage("give(strict=not)", give=_strict, argument="strict", forbids=("strict",))
    for name in ("input", "weight"):
        yield given(name, "memory", memory, forbids=(f"{name}_layout=contiguous",))


def _narrow(*dtypes: str) -> tuple[str, ...]:
    return tuple(f"{name}dtype={dtype}" for name in _NAMES for dtype in dtypes)


_CASTS = {"cast(bfloat16)": _narrow("bfloat16"), "cast(float32)": _narrow("float32", "float16", "bfloat16")}
_KINDS = (*_VALUES, "written", "module", "optimizer", "leaf", "numbers", "mapping")
_SKIPS = ("written", "Module.load_state_dict", "Module._apply", "Module.to", "AveragedModel.update_parameters")
#: Modules that keep their Parameters; a copy's are new ones anyway.
_KEEPING = (*_SKIPS[1:], "Module.train", "Module.requires_grad_", "Module.zero_grad", "Module.apply")
_ORDERED = ("Module.state_dict", "Module.named_parameters", "Module.named_modules", "Module.named_buffers")
_MODULES, _COPIES = ("module",), ("copy.deepcopy", "AveragedModel.__init__")


PYTHON_DAMAGES: Mapping[str, Damage] = {
    damage.name: damage
    for damage in (
        *(
            each._replace(
                at=_KINDS, needs=("earlier>=1",) * (each.name == "stale"), forbids=_CASTS.get(each.name, ()), floating=False
            )
            for each in DAMAGES.values()
            if each.spoil is not None and each.at == ("kernel",)
        ),
        *(
            Damage(f"skip({word})", of_written(place, lambda before, now: before), _SKIPS)
            for word, place in (("first", 0), ("last", -1), ("all", ALL))
        ),
        Damage("skip(states)", of_written(ALL, lambda before, now: before, "states"), argument="grads"),
        Damage("twice(last)", of_written(-1, lambda before, now: 2 * now - before), argument="grads"),
        Damage("spill(memory)", spill, _SKIPS),
        Damage("spill(grads)", gradient_into_parameter, argument="grads"),
        Damage("double(gradient)", of_gradient(lambda out: 2 * out - out.detach()), _VALUES),
        Damage("zero(gradient)", of_gradient(lambda out: out.detach() + 0 * out), _VALUES),
        Damage("restride", restride, (*_VALUES, "leaf", "module")),
        Damage("untie", of_module(untie), _MODULES, ("tied",)),
        Damage("tie", of_module(tie), _MODULES, ("parameters>=2", "two_alike")),
        Damage("replace(last)", of_module(replace), _KEEPING, ("parameters>=1",)),
        Damage("freeze(last)", of_module(freeze), _MODULES, ("parameters>=1",)),
        Damage("drop(gradient)", of_module(without_gradient), _MODULES, ("grads>=1",)),
        Damage("keep(gradient)", of_module(with_gradient), ("Module.zero_grad",), ("grads>=1",)),
        Damage("mode(last)", of_module(other_mode), _MODULES),
        Damage("drop(padding_idx)", of_module(without("padding_idx")), _MODULES, ("padding",)),
        Damage("drop(max_norm)", of_module(without("max_norm")), _MODULES, ("max_norm",)),
        Damage("share(last)", of_module(share), _COPIES),
        Damage("leaf(clone)", of_leaf(lambda made: parameter_of(made, made.detach().clone())), ("leaf",)),
        Damage("leaf(frozen)", of_leaf(lambda made: made.requires_grad_(not made.requires_grad)), ("leaf",)),
        Damage("leaf(float32)", of_leaf(lambda made: parameter_of(made, made.detach().float())), ("leaf",),
               forbids=("self_dtype=float32", "data_dtype=float32")),
        Damage("drop(last)", of_mapping(1, lambda pairs: pairs[:-1]), ("mapping",)),
        Damage("drop(first)", of_mapping(1, lambda pairs: pairs[1:]), ("mapping",)),
        Damage("repeat(last)", of_mapping(1, lambda pairs: [*pairs, pairs[-1]]), ("Module.named_parameters",)),
        Damage("reverse", of_mapping(2, lambda pairs: pairs[::-1]), _ORDERED),
        Damage("swap(values)", of_mapping(2, swapped), ("mapping",)),
        Damage("clone(last)", of_mapping(1, cloned), ("mapping",)),
        Damage("drop(state)", forgotten, ("optimizer",)),
        *_gives(),
    )
}  # fmt: skip
