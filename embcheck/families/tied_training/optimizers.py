"""The optimizers of torch.optim: their flags with documented defaults, the values embcheck gives them, and refusals.

Nothing here comes from the installed release but the question whether it has an optimizer at all.  A default that
a release changes shows as a departure from the formula, because the defaults are written out here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The value of a flag that is not passed.
UNSET = "unset"

Values = tuple[Any, ...]
#: The documented default of a flag, and the values that embcheck gives it.
Flag = tuple[Any, Values]

# Powers of two keep SGD exact and every bound tight; 0 and 0.0, None and False are what a truth test confuses.
_LR: Values = (0.5, 1, 0.125, 0.0, 2.0)
_DECAY: Values = (0.25, 0, 0.0, 1.0)
_EPS: Values = (2.0**-6, 1.0)
_BETAS: Values = ((0.5, 0.75), (0.0, 0.75), (0.5, 0.0), (0.75, 0.5))
_SWITCH: Flag = (False, (True, False))
_MAYBE: Flag = (None, (True, False, None))
_NEVER: Flag = (False, (False,))


@dataclass(frozen=True)
class Kind:
    """One optimizer: the axes of its flags, the documented defaults, what it keeps per parameter.

    ``state`` are the tensors kept with the parameter's shape and dtype; ``counts`` says that it keeps "step";
    ``takes`` which gradients are documented to work: dense, sparse.
    """

    flags: Mapping[str, Values]
    defaults: Mapping[str, Any]
    state: tuple[str, ...] = ()
    counts: bool = True
    takes: frozenset[str] = frozenset({"dense"})
    #: a row whose gradient is zero in every step so far does not move unless weight decay moves it
    still: bool = True


KINDS: dict[str, Kind] = {}

_SHARED = {"foreach": _MAYBE, "maximize": _SWITCH, "differentiable": _SWITCH}
#: What an optimizer without such a flag does.
_NO = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False, "fused": None}


def _kind(name: str, flags: Mapping[str, Flag], **rest: Any) -> None:
    defaults = {flag: default for flag, (default, _) in flags.items()}
    KINDS[name] = Kind({flag: values for flag, (_, values) in flags.items()}, {**_NO, **defaults}, **rest)


_ADAM = {
    "lr": (1e-3, _LR), "betas": ((0.9, 0.999), _BETAS), "eps": (1e-8, _EPS), "weight_decay": (0, _DECAY),
    "amsgrad": _SWITCH, "fused": _MAYBE, "capturable": _NEVER, **_SHARED,
}  # fmt: skip

_kind(
    "SGD",
    {"lr": (1e-3, _LR), "momentum": (0, (0.5, 0, 0.0, 1)), "dampening": (0, (0.5, 0, 0.0)), "weight_decay": (0, _DECAY),
     "nesterov": _SWITCH, "fused": _MAYBE, **_SHARED},
    counts=False,
    takes=frozenset({"dense", "sparse"}),
)  # fmt: skip
_kind("Adam", {**_ADAM, "decoupled_weight_decay": _SWITCH}, state=("exp_avg", "exp_avg_sq"))
_kind("AdamW", {**_ADAM, "weight_decay": (1e-2, _DECAY)}, state=("exp_avg", "exp_avg_sq"))
_kind(
    "Adagrad",
    {"lr": (1e-2, _LR), "lr_decay": (0, (0.5, 0, 0.0)), "weight_decay": (0, _DECAY),
     "initial_accumulator_value": (0, (0.25, 0, 0.0)), "eps": (1e-10, _EPS), "fused": _MAYBE, **_SHARED},
    state=("sum",),
    takes=frozenset({"dense", "sparse"}),
)  # fmt: skip
_kind(
    "RMSprop",
    {"lr": (1e-2, _LR), "alpha": (0.99, (0.5, 0.75)), "eps": (1e-8, _EPS), "weight_decay": (0, _DECAY),
     "momentum": (0, (0.5, 0, 0.0)), "centered": _SWITCH, "capturable": _NEVER, **_SHARED},
    state=("square_avg",),
)  # fmt: skip
_kind(
    "SparseAdam",
    {"lr": (1e-3, (0.5, 1, 0.125)), "betas": ((0.9, 0.999), ((0.5, 0.75), (0.75, 0.5))), "eps": (1e-8, _EPS),
     "maximize": _SWITCH},
    state=("exp_avg", "exp_avg_sq"),
    takes=frozenset({"sparse"}),
)  # fmt: skip
_kind(
    "NAdam",
    {"lr": (2e-3, _LR), "betas": ((0.9, 0.999), _BETAS[:2]), "eps": (1e-8, _EPS), "weight_decay": (0, _DECAY),
     "momentum_decay": (4e-3, (0.5, 0, 0.0)), "decoupled_weight_decay": _SWITCH, "capturable": _NEVER, **_SHARED},
    state=("exp_avg", "exp_avg_sq"),
)  # fmt: skip
_kind(
    "RAdam",
    {"lr": (1e-3, _LR), "betas": ((0.9, 0.999), ((0.5, 0.75), (0.5, 0.99), (0.0, 0.75))), "eps": (1e-8, _EPS),
     "weight_decay": (0, _DECAY), "decoupled_weight_decay": _SWITCH, "capturable": _NEVER, **_SHARED},
    state=("exp_avg", "exp_avg_sq"),
)  # fmt: skip
_kind(
    "Adamax",
    {"lr": (2e-3, _LR), "betas": ((0.9, 0.999), _BETAS), "eps": (1e-8, _EPS), "weight_decay": (0, _DECAY),
     "capturable": _NEVER, **_SHARED},
    state=("exp_avg", "exp_inf"),
)  # fmt: skip
_kind(
    "Adadelta",
    {"lr": (1.0, _LR), "rho": (0.9, (0.5, 0.75, 0.0)), "eps": (1e-6, _EPS), "weight_decay": (0, _DECAY),
     "capturable": _NEVER, **_SHARED},
    state=("square_avg", "acc_delta"),
)  # fmt: skip
_kind(
    "ASGD",
    {"lr": (1e-2, _LR), "lambd": (1e-4, (0.25, 0, 0.0)), "alpha": (0.75, (0.5, 1, 0)), "t0": (1e6, (0, 1, 2.0)),
     "weight_decay": (0, _DECAY), "capturable": _NEVER, **_SHARED},
    state=("ax",),
    still=False,
)  # fmt: skip
_kind(
    "Rprop",
    {"lr": (1e-2, _LR[:3]), "etas": ((0.5, 1.2), ((0.5, 2.0), (0.25, 1.5))),
     "step_sizes": ((1e-6, 50), ((0.25, 1.0), (1e-3, 8))), "capturable": _NEVER, **_SHARED},
    state=("prev", "step_size"),
)  # fmt: skip
_kind(
    "Adafactor",
    {"lr": (1e-2, _LR), "beta2_decay": (-0.8, (-0.5, -1.0, 0)), "eps": ((None, 1e-3), ((None, 0.25), (2.0**-6, 2.0**-3))),
     "d": (1.0, (2.0, 1)), "weight_decay": (0.0, _DECAY), "foreach": _MAYBE, "maximize": _SWITCH},
)  # fmt: skip
_kind(
    "Muon",
    {"lr": (1e-3, _LR), "weight_decay": (0.1, _DECAY), "momentum": (0.95, (0.5, 0, 0.0)), "nesterov": (True, (True, False)),
     "ns_steps": (5, (1, 2)), "eps": (1e-7, (2.0**-20,)), "adjust_lr_fn": (None, (None, "original", "match_rms_adamw")),
     "ns_coefficients": ((3.4445, -4.775, 2.0315), ((1.5, -0.5, 0.0),))},
    counts=False,
    still=False,
)  # fmt: skip
_kind(
    "LBFGS",
    {"lr": (1, _LR), "max_iter": (20, (1, 2)), "max_eval": (None, (None, 1, 2)), "tolerance_grad": (1e-7, (0.0,)),
     "tolerance_change": (1e-9, (0.0,)), "history_size": (100, (1, 2)), "line_search_fn": (None, (None,))},
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
    flags, name = hyperparameters(case), case.optimizer
    eps = flags.get("eps", 0)
    of_none_below_zero = ("lr", "weight_decay", "momentum", "lr_decay", "initial_accumulator_value", "momentum_decay")
    return bool(
        any(flags.get(flag, 0) < 0 for flag in of_none_below_zero)
        or any(each is not None and each < 0 for each in (eps if isinstance(eps, tuple) else (eps,)))
        or any(not 0 <= share < 1 for share in flags.get("betas", ()))
        or not 0 <= flags.get("rho", 0) <= 1
        or (name == "SGD" and flags["nesterov"] and (flags["momentum"] <= 0 or flags["dampening"] != 0))
        or (name == "Rprop" and not 0 < flags["etas"][0] < 1 < flags["etas"][1])
        or (name == "Adafactor" and (flags["d"] < 1 or flags["beta2_decay"] > 0))
        or (flags["fused"] and (flags["foreach"] or flags["differentiable"]))
    )


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
