"""Damages at sites in Python: what a fault does to a call, a closed list, `PYTHON_DAMAGES`.

Damages of rows are those of the kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from selfcheck.damages import DAMAGES, Call, memory
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
from selfcheck.python_sites import PythonSite
from selfcheck.tensor_plans import (
    ALL,
    INPLACE,
    Plan,
    Planner,
    gradient_into_parameter,
    of_gradient,
    of_leaf,
    of_rows,
    of_written,
    parameter_of,
    restride,
    spill,
)

_VALUES = ("value", "transform")
_NAMES = ("", "params_", "data_", "self_", "weight_", "tensor_", "param_", "input_", "embeddings_", "x_")

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
        "maximize nesterov amsgrad centered decoupled_weight_decay capturable scale_grad_by_freq sparse freeze freeze strict "
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
_KINDS = (*_VALUES, *INPLACE, "leaf", "numbers", "mapping")
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
                each.name, of_rows(each.spoil, each.rows), _KINDS, ("earlier>=1",) * (each.name == "stale"),
                _CASTS.get(each.name, ()),
            )
            for each in DAMAGES.values()
            if each.spoil is not None and not each.sites
        ),
        PythonDamage("skip(first)", of_written(0, lambda before, now: before), _SKIPS),
        PythonDamage("skip(last)", of_written(-1, lambda before, now: before), _SKIPS),
        PythonDamage("skip(all)", of_written(ALL, lambda before, now: before), _SKIPS),
        PythonDamage("skip(states)", of_written(ALL, lambda before, now: before, "states"), argument="grads"),
        PythonDamage("twice(last)", of_written(-1, lambda before, now: 2 * now - before), argument="grads"),
        PythonDamage("spill(memory)", spill, _SKIPS),
        PythonDamage("spill(grads)", gradient_into_parameter, argument="grads"),
        PythonDamage("double(gradient)", of_gradient(lambda out: 2 * out - out.detach()), _VALUES),
        PythonDamage("zero(gradient)", of_gradient(lambda out: out.detach() + 0 * out), _VALUES),
        PythonDamage("restride", restride, (*_VALUES, "leaf", "module")),
        PythonDamage("untie", of_module(untie), _MODULES, ("tied",)),
        PythonDamage("tie", of_module(tie), _MODULES, ("parameters>=2",)),
        PythonDamage("replace(last)", of_module(replace), _KEEPING, ("parameters>=1",)),
        PythonDamage("freeze(last)", of_module(freeze), _MODULES, ("parameters>=1",)),
        PythonDamage("drop(gradient)", of_module(without_gradient), _MODULES, ("grads>=1",)),
        PythonDamage("keep(gradient)", of_module(with_gradient), ("Module.zero_grad",), ("grads>=1",)),
        PythonDamage("mode(last)", of_module(other_mode), _MODULES),
        PythonDamage("drop(padding_idx)", of_module(without("padding_idx")), _MODULES, ("padding",)),
        PythonDamage("drop(max_norm)", of_module(without("max_norm")), _MODULES, ("max_norm",)),
        PythonDamage("share(last)", of_module(share), _COPIES),
        PythonDamage("leaf(clone)", of_leaf(lambda made: parameter_of(made, made.detach().clone())), ("leaf",)),
        PythonDamage("leaf(frozen)", of_leaf(lambda made: made.requires_grad_(not made.requires_grad)), ("leaf",)),
        PythonDamage("leaf(float32)", of_leaf(lambda made: parameter_of(made, made.detach().float())), ("leaf",)),
        PythonDamage("drop(last)", of_mapping(1, lambda pairs: pairs[:-1]), ("mapping",)),
        PythonDamage("drop(first)", of_mapping(1, lambda pairs: pairs[1:]), ("mapping",)),
        PythonDamage("repeat(last)", of_mapping(1, lambda pairs: [*pairs, pairs[-1]]), ("Module.named_parameters",)),
        PythonDamage("reverse", of_mapping(2, lambda pairs: pairs[::-1]), _ORDERED),
        PythonDamage("swap(values)", of_mapping(2, swapped), ("mapping",)),
        PythonDamage("clone(last)", of_mapping(1, cloned), ("mapping",)),
        PythonDamage("drop(state)", forgotten, ("optimizer",)),
        *_gives(),
    )
}  # fmt: skip
