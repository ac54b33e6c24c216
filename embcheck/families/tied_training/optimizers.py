"""The optimizers of torch.optim: their flags with documented defaults, the values embcheck gives them, and refusals.

Nothing here comes from the installed release but the question whether it has an optimizer at all.  A default that
a release changes shows as a departure from the formula, because the defaults are written out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The value of a flag that is not passed.
UNSET = "unset"

Values = tuple[Any, ...]

# Powers of two keep SGD exact and every bound tight; 0 and 0.0, None and False are what a truth test confuses.
_LR: Values = (0.5, 1, 0.125, 0.0, 2.0)
_DECAY: Values = (0.25, 0, 0.0, 1.0)
_EPS: Values = (2.0**-6, 1.0)
_BETAS: Values = ((0.5, 0.75), (0.0, 0.75), (0.5, 0.0), (0.75, 0.5))
_SWITCH: Values = (True, False)
_MAYBE: Values = (True, False, None)


@dataclass(frozen=True)
class Kind:
    """One optimizer: the axes of its flags, the documented defaults, what it keeps per parameter.

    ``state`` are the tensors kept with the parameter's shape and dtype; ``counts`` says that it keeps "step";
    ``takes`` which gradients are documented to work: dense, sparse.
    """

    name: str
    flags: Mapping[str, Values]
    defaults: Mapping[str, Any]
    state: tuple[str, ...] = ()
    counts: bool = True
    takes: frozenset[str] = frozenset({"dense"})
    #: a row whose gradient is zero in every step so far does not move unless weight decay moves it
    still: bool = True


KINDS: dict[str, Kind] = {}

_SHARED = {"foreach": _MAYBE, "maximize": _SWITCH, "differentiable": _SWITCH}
_NO = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False, "fused": None}


def _kind(name: str, flags: Mapping[str, Values], defaults: Mapping[str, Any], **rest: Any) -> None:
    KINDS[name] = Kind(name, flags, {**_NO, **defaults}, **rest)


_ADAM = {
    "lr": _LR, "betas": _BETAS, "eps": _EPS, "weight_decay": _DECAY, "amsgrad": _SWITCH, "fused": _MAYBE,
    "capturable": (False,), **_SHARED,
}  # fmt: skip
_ADAM_DEFAULTS = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}

_kind(
    "SGD",
    {"lr": _LR, "momentum": (0.5, 0, 0.0, 1), "dampening": (0.5, 0, 0.0), "weight_decay": _DECAY, "nesterov": _SWITCH,
     "fused": _MAYBE, **_SHARED},
    {"lr": 1e-3, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
    counts=False,
    takes=frozenset({"dense", "sparse"}),
)  # fmt: skip
_kind(
    "Adam",
    {**_ADAM, "decoupled_weight_decay": _SWITCH},
    {**_ADAM_DEFAULTS, "weight_decay": 0, "decoupled_weight_decay": False},
    state=("exp_avg", "exp_avg_sq"),
)
_kind("AdamW", _ADAM, {**_ADAM_DEFAULTS, "weight_decay": 1e-2}, state=("exp_avg", "exp_avg_sq"))
_kind(
    "Adagrad",
    {"lr": _LR, "lr_decay": (0.5, 0, 0.0), "weight_decay": _DECAY, "initial_accumulator_value": (0.25, 0, 0.0),
     "eps": _EPS, "fused": _MAYBE, **_SHARED},
    {"lr": 1e-2, "lr_decay": 0, "weight_decay": 0, "initial_accumulator_value": 0, "eps": 1e-10},
    state=("sum",),
    takes=frozenset({"dense", "sparse"}),
)  # fmt: skip
_kind(
    "RMSprop",
    {"lr": _LR, "alpha": (0.5, 0.75), "eps": _EPS, "weight_decay": _DECAY, "momentum": (0.5, 0, 0.0),
     "centered": _SWITCH, "capturable": (False,), **_SHARED},
    {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0, "momentum": 0, "centered": False},
    state=("square_avg",),
)  # fmt: skip
_kind(
    "SparseAdam",
    {"lr": (0.5, 1, 0.125), "betas": ((0.5, 0.75), (0.75, 0.5)), "eps": _EPS, "maximize": _SWITCH},
    {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8},
    state=("exp_avg", "exp_avg_sq"),
    takes=frozenset({"sparse"}),
)
_kind(
    "NAdam",
    {"lr": _LR, "betas": _BETAS[:2], "eps": _EPS, "weight_decay": _DECAY, "momentum_decay": (0.5, 0, 0.0),
     "decoupled_weight_decay": _SWITCH, "capturable": (False,), **_SHARED},
    {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "momentum_decay": 4e-3,
     "decoupled_weight_decay": False},
    state=("exp_avg", "exp_avg_sq"),
)  # fmt: skip
_kind(
    "RAdam",
    {"lr": _LR, "betas": ((0.5, 0.75), (0.5, 0.99), (0.0, 0.75)), "eps": _EPS, "weight_decay": _DECAY,
     "decoupled_weight_decay": _SWITCH, "capturable": (False,), **_SHARED},
    {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "decoupled_weight_decay": False},
    state=("exp_avg", "exp_avg_sq"),
)  # fmt: skip
_kind(
    "Adamax",
    {"lr": _LR, "betas": _BETAS, "eps": _EPS, "weight_decay": _DECAY, "capturable": (False,), **_SHARED},
    {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0},
    state=("exp_avg", "exp_inf"),
)
_kind(
    "Adadelta",
    {"lr": _LR, "rho": (0.5, 0.75, 0.0), "eps": _EPS, "weight_decay": _DECAY, "capturable": (False,), **_SHARED},
    {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0},
    state=("square_avg", "acc_delta"),
)
_kind(
    "ASGD",
    {"lr": _LR, "lambd": (0.25, 0, 0.0), "alpha": (0.5, 1, 0), "t0": (0, 1, 2.0), "weight_decay": _DECAY,
     "capturable": (False,), **_SHARED},
    {"lr": 1e-2, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6, "weight_decay": 0},
    state=("ax",),
    still=False,
)  # fmt: skip
_kind(
    "Rprop",
    {"lr": _LR[:3], "etas": ((0.5, 2.0), (0.25, 1.5)), "step_sizes": ((0.25, 1.0), (1e-3, 8)), "capturable": (False,),
     **_SHARED},
    {"lr": 1e-2, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50)},
    state=("prev", "step_size"),
)  # fmt: skip
_kind(
    "Adafactor",
    {"lr": _LR, "beta2_decay": (-0.5, -1.0, 0), "eps": ((None, 0.25), (2.0**-6, 2.0**-3)), "d": (2.0, 1),
     "weight_decay": _DECAY, "foreach": _MAYBE, "maximize": _SWITCH},
    {"lr": 1e-2, "beta2_decay": -0.8, "eps": (None, 1e-3), "d": 1.0, "weight_decay": 0.0},
)  # fmt: skip
_kind(
    "Muon",
    {"lr": _LR, "weight_decay": _DECAY, "momentum": (0.5, 0, 0.0), "nesterov": _SWITCH, "ns_steps": (1, 2),
     "eps": (2.0**-20,), "adjust_lr_fn": (None, "original", "match_rms_adamw"), "ns_coefficients": ((1.5, -0.5, 0.0),)},
    {"lr": 1e-3, "weight_decay": 0.1, "momentum": 0.95, "nesterov": True, "ns_coefficients": (3.4445, -4.775, 2.0315),
     "eps": 1e-7, "ns_steps": 5, "adjust_lr_fn": None},
    counts=False,
    still=False,
)  # fmt: skip
_kind(
    "LBFGS",
    {"lr": _LR, "max_iter": (1, 2), "max_eval": (None, 1, 2), "tolerance_grad": (0.0,), "tolerance_change": (0.0,),
     "history_size": (1, 2), "line_search_fn": (None,)},
    {"lr": 1, "max_iter": 20, "max_eval": None, "tolerance_grad": 1e-7, "tolerance_change": 1e-9, "history_size": 100,
     "line_search_fn": None},
    counts=False,
)  # fmt: skip

#: Every flag of any optimizer with all its values, UNSET first: the axes of a case.
FLAGS: dict[str, Values] = {}
for _one in KINDS.values():
    for _flag, _values in _one.flags.items():
        # 0, 0.0 and False are equal in Python but not to a truth test of a type, so compare what they print as.
        _known = FLAGS.get(_flag, (UNSET,))
        FLAGS[_flag] = _known + tuple(v for v in _values if repr(v) not in {repr(k) for k in _known})


def paths(name: str) -> list[str]:
    """The flags that ask for an optimizer's paths; the plain one, which comes first, needs none."""
    return ["", *(path for path in ("foreach", "fused") if path in KINDS[name].flags)]


def chosen(case: Any) -> dict[str, Any]:
    """The flags that a case passes to its optimizer's constructor."""
    return {name: getattr(case, name) for name in FLAGS if getattr(case, name) != UNSET}


def hyperparameters(case: Any) -> dict[str, Any]:
    """The flags of a case with documented defaults for what it does not pass."""
    return {**KINDS[case.optimizer].defaults, **chosen(case)}


def invalid(case: Any) -> bool:
    """Whether the constructor must refuse the flags, by the documentation's ranges."""
    flags = hyperparameters(case)
    for name in ("lr", "weight_decay", "momentum", "lr_decay", "initial_accumulator_value", "momentum_decay"):
        if flags.get(name, 0) < 0:
            return True
    eps = flags.get("eps", 0)
    if any(e is not None and e < 0 for e in (eps if isinstance(eps, tuple) else (eps,))):
        return True
    if any(not 0 <= beta < 1 for beta in flags.get("betas", ())) or not 0 <= flags.get("rho", 0) <= 1:
        return True
    if case.optimizer == "SGD" and flags["nesterov"] and (flags["momentum"] <= 0 or flags["dampening"] != 0):
        return True
    if case.optimizer == "Rprop" and not 0 < flags["etas"][0] < 1 < flags["etas"][1]:
        return True
    if case.optimizer == "Adafactor" and (flags["d"] < 1 or flags["beta2_decay"] > 0):
        return True
    return bool(flags["fused"] and (flags["foreach"] or flags["differentiable"]))


#: What a release may refuse though no range forbids it: (who, when, what it says).  Cases were run on 2.13.0 and 2.15.0
#: alone; what an alternative within a pattern says of other releases has not been met.
_REFUSALS: tuple[tuple[str, str, str], ...] = (
    ("*", "sparse", r"does not support sparse gradients"),
    ("SGD", "sparse fused", r"`_fused_sgd_?` does not support sparse gradients"),
    ("Adagrad", "sparse fused", r"`fused` does not support sparse grad"),
    ("Adagrad", "sparse weight_decay", r"weight_decay option is not compatible with sparse gradients"),
    ("SGD", "sparse weight_decay", r"add\(sparse, dense\) is not supported"),
    ("*", "sparse_path float16", r"not implemented for 'Half'"),
    ("*", "foreach differentiable", r"_foreach ops don't support autograd"),
    ("SparseAdam", "dense", r"SparseAdam does not support dense gradients, please consider Adam instead"),
    ("*", "capturable", r"If capturable=True, params(,.*)? (and|mus).*must be on supported devices"),
    ("*", "tensor_lr foreach", r"lr as a Tensor is not supported for capturable=False and foreach=True"),
    ("*", "tensor_betas", r"beta(s(\[\d\])?|\d) as a Tensor is not supported for capturable=False and foreach=True"),
    ("Muon", "bias", r"Muon only supports 2D parameters"),
    ("LBFGS", "groups", r"LBFGS doesn't support per-parameter options"),
)


def refusals(case: Any) -> tuple[str, ...]:
    """The messages (regular expressions) with which a release may refuse a case, given what holds of it."""
    return tuple(
        pattern
        for who, when, pattern in _REFUSALS
        if who in ("*", case.optimizer) and case.circumstances.issuperset(when.split())
    )
