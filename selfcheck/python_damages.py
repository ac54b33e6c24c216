"""Damages at sites in Python: what a fault does to a call, a closed list, `PYTHON_DAMAGES`.

Damages of rows are those of the kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from selfcheck.damages import DAMAGES, Damage, memory
from selfcheck.module_plans import (
    cloned,
    forgotten,
    freeze,
    of_mapping,
    of_module,
    other_mode,
    replace,
    share,
    swapped,
    tie,
    untie,
    with_gradient,
    without,
    without_gradient,
)
from selfcheck.site import Call
from selfcheck.tensor_plans import (
    ALL,
    Planner,
    gradient_into_parameter,
    of_gradient,
    of_leaf,
    of_written,
    parameter_of,
    restride,
    spill,
)

_VALUES = ("value", "transform")
_NAMES = ("", "params_", "data_", "self_", "weight_", "tensor_", "param_", "input_", "embeddings_", "x_")

# -- arguments ----------------------------------------------------------------------------------------------------------

#: Changes the value of an argument, or gives it back.
Change = Callable[[Any], Any]


def _scaled(factor: int) -> Change:
    return lambda value: (
        type(value)(factor * value) if isinstance(value, (int, float)) and type(value) is not bool and value else value
    )


def _given(name: str, change: Change, call: Call) -> dict[str, Any]:
    """The argument of a name changed, if that changes it."""
    value = call.given.get(name)
    changed = value if value is None else change(value)
    return {} if changed is value else {name: changed}


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
        "maximize nesterov amsgrad centered decoupled_weight_decay capturable scale_grad_by_freq sparse freeze freeze strict "
        "assign set_to_none requires_grad mode keep_vars remove_duplicate recurse include_last_offset use_buffers tie_weights",
    ),
    "none": (lambda value: None, "bias padding_idx max_norm per_sample_weights _weight"),
    "detached": (lambda value: value.detach() if value.requires_grad else value, "input weight"),
    "sum": (lambda value: "sum", "reduction"),
}


def _gives() -> list[Damage]:
    found = [
        Damage(
            f"give({name}={word})",
            give=partial(_given, name, change),
            needs=(f"{name}>0",) if word in {"zero", "double"} else ("momentum>0",) * (name == "nesterov"),
            forbids=(f"{name}=None", f"{name}_frozen", f"{name}={word}"),
            argument=name,
        )
        for word, (change, names) in _GIVEN.items()
        for name in names.split()
    ]
    dense = {name: (f"{name}_layout=contiguous",) for name in ("input", "weight")}
    return found + [
        Damage(f"give({name}=memory)", give=memory(name), forbids=forbidden, argument=name)
        for name, forbidden in dense.items()
    ]


def _narrow(*dtypes: str) -> tuple[str, ...]:
    return tuple(f"{name}dtype={dtype}" for name in _NAMES for dtype in dtypes)


_CASTS = {"cast(bfloat16)": _narrow("bfloat16"), "cast(float32)": _narrow("float32", "float16", "bfloat16")}
_KINDS = (*_VALUES, "written", "module", "optimizer", "leaf", "numbers", "mapping")
_SKIPS = ("written", "Module.load_state_dict", "Module._apply", "Module.to", "AveragedModel.update_parameters")
#: Modules that keep their Parameters; a copy's are new ones anyway.
_KEEPING = (*_SKIPS[1:], "Module.train", "Module.requires_grad_", "Module.zero_grad", "Module.apply")
_ORDERED = ("Module.state_dict", "Module.named_parameters", "Module.named_modules", "Module.named_buffers")
_MODULES, _COPIES = ("module",), ("copy.deepcopy", "AveragedModel.__init__")


def _planned(
    name: str, planner: Planner, at: tuple[str, ...] = (), needs: tuple[str, ...] = (), *, argument: str = ""
) -> Damage:
    return Damage(name, planner=planner, at=at, needs=needs, argument=argument)


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
        _planned("skip(first)", of_written(0, lambda before, now: before), _SKIPS),
        _planned("skip(last)", of_written(-1, lambda before, now: before), _SKIPS),
        _planned("skip(all)", of_written(ALL, lambda before, now: before), _SKIPS),
        _planned("skip(states)", of_written(ALL, lambda before, now: before, "states"), argument="grads"),
        _planned("twice(last)", of_written(-1, lambda before, now: 2 * now - before), argument="grads"),
        _planned("spill(memory)", spill, _SKIPS),
        _planned("spill(grads)", gradient_into_parameter, argument="grads"),
        _planned("double(gradient)", of_gradient(lambda out: 2 * out - out.detach()), _VALUES),
        _planned("zero(gradient)", of_gradient(lambda out: out.detach() + 0 * out), _VALUES),
        _planned("restride", restride, (*_VALUES, "leaf", "module")),
        _planned("untie", of_module(untie), _MODULES, ("tied",)),
        _planned("tie", of_module(tie), _MODULES, ("parameters>=2",)),
        _planned("replace(last)", of_module(replace), _KEEPING, ("parameters>=1",)),
        _planned("freeze(last)", of_module(freeze), _MODULES, ("parameters>=1",)),
        _planned("drop(gradient)", of_module(without_gradient), _MODULES, ("grads>=1",)),
        _planned("keep(gradient)", of_module(with_gradient), ("Module.zero_grad",), ("grads>=1",)),
        _planned("mode(last)", of_module(other_mode), _MODULES),
        _planned("drop(padding_idx)", of_module(without("padding_idx")), _MODULES, ("padding",)),
        _planned("drop(max_norm)", of_module(without("max_norm")), _MODULES, ("max_norm",)),
        _planned("share(last)", of_module(share), _COPIES),
        _planned("leaf(clone)", of_leaf(lambda made: parameter_of(made, made.detach().clone())), ("leaf",)),
        _planned("leaf(frozen)", of_leaf(lambda made: made.requires_grad_(not made.requires_grad)), ("leaf",)),
        _planned("leaf(float32)", of_leaf(lambda made: parameter_of(made, made.detach().float())), ("leaf",)),
        _planned("drop(last)", of_mapping(1, lambda pairs: pairs[:-1]), ("mapping",)),
        _planned("drop(first)", of_mapping(1, lambda pairs: pairs[1:]), ("mapping",)),
        _planned("repeat(last)", of_mapping(1, lambda pairs: [*pairs, pairs[-1]]), ("Module.named_parameters",)),
        _planned("reverse", of_mapping(2, lambda pairs: pairs[::-1]), _ORDERED),
        _planned("swap(values)", of_mapping(2, swapped), ("mapping",)),
        _planned("clone(last)", of_mapping(1, cloned), ("mapping",)),
        _planned("drop(state)", forgotten, ("optimizer",)),
        *_gives(),
    )
}  # fmt: skip
