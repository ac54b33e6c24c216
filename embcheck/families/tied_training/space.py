"""The space of tied training runs: every optimizer with every occasion, covers of its flags, refusals, random ones."""

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.axes import values_of
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space, covering
from embcheck.families.lr_scheduler.cases import made_by
from embcheck.families.lr_scheduler.programs import make
from embcheck.families.tied_training import optimizers, programs, training_steps
from embcheck.families.tied_training.cases import SCHEDULES, SHAPES, WITHOUT_GRADIENT, TiedTrainingCase
from embcheck.families.tied_training.optimizers import FLAGS, KINDS, UNSET, chosen, paths
from embcheck.families.tied_training.training_steps import EVENTS, EVERY_STEP

LARGE = ((65, 17), (33, 64), (129, 33), (257, 130))

#: Events after which the model is another object, whose sums may run in another order.
COPIES = frozenset({"copied"})
#: Events after which the state's tensors are copies, whose strides are not promised.
RESTORING = COPIES | {"reloaded", "reloaded_saved"}
#: Ways to clear gradients that leave the tensor there.
KEPT_GRADIENTS = ("to_zeros", "model_to_zeros", "never")
#: Optimizers whose eps is no term of a denominator of each element.
_ADDS_NO_EPS = frozenset({"Adafactor", "Muon"})
#: Optimizers that sum over the parameter.
_REDUCING = frozenset({"Adafactor", "Muon", "LBFGS"})


def plan(case: TiedTrainingCase) -> Plan:
    flags = chosen(case)
    weight = {"weight": case.inputs["weight"]}
    if case.twice:
        options = {"tie": training_steps.TIES[case.tie], "twice": case.twice, "sparse": case.sparse}
        return Plan(programs.list_twice, weight, {**options, "kind": case.optimizer, "flags": flags})
    if case.refused:
        return Plan(programs.construct, weight, {"kind": case.optimizer, "flags": flags})
    zero, clip, schedule = training_steps.ZEROS[case.zero], training_steps.CLIPS[case.clip], SCHEDULES[case.schedule]
    step_given = (1.0,) if case.schedule == "plateau" else ()
    steps = [
        (k % case.turns, count, use, k == 1 or case.event in EVERY_STEP)
        for k, (count, use) in enumerate(zip(case.passes, case.routes, strict=True))
    ]
    options = {
        "tie": training_steps.TIES[case.tie],
        "listing": training_steps.LISTINGS[case.listing],
        "backward_pass": training_steps.LAPS[case.backward_pass],
        "event": EVENTS[case.event],
        "optimizer": (case.optimizer, flags, tuple(filter(None, [case.tensor_hyperparameters]))),
        "schedule": (step_given, make, *made_by(schedule, 1)) if schedule else (),
        "gradients": (zero, clip, case.clip.startswith("norm")),
        "steps": tuple(steps),
        "closure": case.closure,
        "embedding": {"sparse": case.sparse, **case.keywords("padding_idx")},
    }
    return Plan(programs.train_by_lbfgs if case.curved else programs.train, case.inputs, options)


def repair(case: TiedTrainingCase) -> TiedTrainingCase:
    kind = KINDS[case.optimizer]
    changes: dict[str, Any] = {name: UNSET for name in FLAGS if name not in kind.flags and getattr(case, name) != UNSET}
    for name, values in kind.flags.items():
        value = getattr(case, name)
        if value != UNSET and repr(value) not in {repr(v) for v in values} and repr(value) in _KNOWN[name]:
            changes[name] = values[len(repr(value)) % len(values)]
    case = case.but(**changes) if changes else case
    # A seed of -1 is that of invalid flags from the enumeration of refusals, and not from an unlucky row.
    rules = _VALID if case.twice or (optimizers.invalid(case) and case.seed != -1) else ()
    return fitted(case, (*rules, *_FITTING))


#: Every value of an axis as it prints: what is not among them was put there on purpose.
_KNOWN = {name: frozenset(map(repr, values)) for name, values in FLAGS.items()}

#: What makes flags valid.
_VALID: tuple[Rule, ...] = (
    (lambda c: c.optimizer == "SGD" and c.nesterov is True, {"momentum": 0.5, "dampening": UNSET}),
    (lambda c: c.fused is True and c.foreach is True, {"foreach": UNSET}),
    (lambda c: c.fused is True and c.differentiable is True, {"differentiable": UNSET}),
)


def _sums_rows(case: TiedTrainingCase) -> bool:
    """Whether the optimizer takes the sparse gradient of a lookup."""
    return case.sparse and "sparse" in KINDS[case.optimizer].takes


def _composes(case: TiedTrainingCase) -> bool:
    """Whether the head of the looked-up rows has integers that are small enough, each path once."""
    return case.shape[0] <= 9 and case.shape[1] <= 8 and case.tie != "three_way" and case.optimizer != "LBFGS"


#: What fits axes to each other, one rule after another: where it applies, and the values that it gives.
_FITTING: tuple[Rule, ...] = (
    (lambda c: c.optimizer == "SparseAdam", {"sparse": True}),
    (lambda c: _sums_rows(c), {"uses": "lookup", "bias": False}),
    (lambda c: _sums_rows(c) and c.backward_pass == "composed", {"backward_pass": "pair"}),
    (lambda c: c.sparse and not _sums_rows(c) and c.uses == "turns", {"uses": "lookup"}),
    (lambda c: c.optimizer == "Muon", {"bias": False}),
    (lambda c: c.optimizer == "Muon" and c.ns_steps == UNSET and c.seed % 4, {"ns_steps": 1}),  # of five: no bound
    (lambda c: c.optimizer == "LBFGS", {"closure": True, "backward_pass": "joint", "clip": "unclipped"}),
    (lambda c: c.optimizer == "LBFGS" and c.event in WITHOUT_GRADIENT, {"event": "nothing"}),
    (lambda c: c.optimizer == "LBFGS" and c.zero == "never", {"zero": "to_none"}),
    # 20 evaluations are slow.
    (lambda c: c.optimizer == "LBFGS" and c.max_iter == UNSET and (c.seed + 1) % 8, {"max_iter": 1}),
    (lambda c: c.optimizer == "LBFGS" and c.listing in ("bare_groups", "own_rate", "added_last"), {"listing": "parameters"}),
    (lambda c: c.optimizer == "LBFGS" and c.event in ("accumulated", "alternating"), {"event": "nothing"}),
    (lambda c: c.backward_pass == "composed" and _composes(c), {"steps": 1, "uses": "both"}),
    (lambda c: c.backward_pass == "composed" and not _composes(c), {"backward_pass": "pair"}),
    (lambda c: c.steps == 1 and c.event in WITHOUT_GRADIENT | {"accumulated", "alternating"}, {"event": "nothing"}),
    (lambda c: c.steps == 1 and c.uses == "turns", {"uses": "both"}),
    (lambda c: c.is_sparse, {"grad_layout": "fresh", "clip": "unclipped"}),
    (lambda c: c.is_sparse and c.zero == "never", {"zero": "by_hand"}),
    # In which a cleared gradient has no rows.
    (lambda c: c.is_sparse and c.event in WITHOUT_GRADIENT and c.zero == "to_zeros", {"zero": "to_none"}),
    (lambda c: c.is_sparse and c.event in WITHOUT_GRADIENT and c.zero == "model_to_zeros", {"zero": "model_to_none"}),
    # A copy of a Parameter has no gradient to go on with.
    (lambda c: c.zero == "never" and c.event in WITHOUT_GRADIENT | COPIES, {"zero": "to_none"}),
    (lambda c: c.zero == "never" and c.clip != "unclipped", {"zero": "to_none"}),
    (lambda c: c.event == "frozen", {"zero": "to_none", "grad_layout": "fresh", "closure": False}),
    (lambda c: c.grad_layout != "fresh" and c.zero not in KEPT_GRADIENTS, {"zero": "to_zeros"}),
    (lambda c: c.event in RESTORING | {"alternating", "rate_halved"}, {"schedule": "constant"}),
    # A copy may lie otherwise in memory, and a sum in another order rounds otherwise.
    (lambda c: c.optimizer in _REDUCING and c.event in COPIES, {"layout": "contiguous"}),
    (lambda c: c.differentiable is True, {"closure": False}),
    (lambda c: c.differentiable is True and c.foreach is True and c.seed % 8, {"foreach": UNSET}),
    (lambda c: c.tensor_hyperparameters == "betas" and c.optimizer not in ("Adam", "AdamW"), {"tensor_hyperparameters": "lr"}),
    (lambda c: c.tensor_hyperparameters and c.optimizer == "Muon", {"tensor_hyperparameters": ""}),
    (lambda c: "lr" in c.tensor_hyperparameters and c.lr == UNSET, {"lr": 0.5}),
    (lambda c: c.tensor_hyperparameters and isinstance(c.lr, int), {"lr": 0.5}),
    # These schedules multiply the rate by factors that a tensor of float32 rounds.
    (lambda c: "lr" in c.tensor_hyperparameters and c.schedule in ("polynomial", "cosine"), {"schedule": "step_lr"}),
    (lambda c: c.tensor_hyperparameters == "betas" and c.betas == UNSET, {"betas": (0.5, 0.75)}),
    # The default underflows in half precision: a row of zeros would be 0/0.
    (lambda c: c.dtype == "float16" and c.eps == UNSET and _adds_eps(c.optimizer), {"eps": 2.0**-6}),
)  # fmt: skip


def _adds_eps(name: str) -> bool:
    return "eps" in KINDS[name].flags and name not in _ADDS_NO_EPS


AXES = values_of(TiedTrainingCase) | FLAGS


def scope() -> Iterator[TiedTrainingCase]:
    """Every optimizer with every event, tie, listing, schedule and dtype, then a three-wise cover of its own flags."""
    alone = ("event", "schedule", "tie", "listing", "backward_pass", "zero", "clip", "dtype", "layout", "grad_layout")
    for name, axis in itertools.product(KINDS, alone):
        for (position, value), bias in itertools.product(enumerate(AXES[axis]), (False, True)):
            yield repair(TiedTrainingCase(name, steps=3, bias=bias, seed=position).but(**{axis: value}))
    for name, kind in KINDS.items():
        axes: dict[str, tuple[Any, ...]] = {"bias": (False, True), "uses": ("both", "lookup")}
        axes |= {flag: (UNSET, *_two(values)) for flag, values in kind.flags.items()}
        axes |= {"sparse": (False, True)} if kind.takes == {"dense", "sparse"} else {}
        for position, flags in enumerate(covering(axes, 3, stream.derive("flags", name))):
            yield repair(TiedTrainingCase(name, steps=(3, 2, 4, 3, 1)[position % 5], seed=position).but(**flags))
    for steps, betas in itertools.product((6, 7, 8), (UNSET, (0.5, 0.99))):
        for flag in ("foreach", "differentiable", "decoupled_weight_decay", "maximize"):
            # With an eps that shows: only the rectified steps, from the sixth on, add it.
            case = TiedTrainingCase("RAdam", steps=steps, betas=betas, eps=2.0**-6, weight_decay=0.25)
            yield repair(case.but(**{flag: True}))
    for name, kind in KINDS.items():
        if "capturable" in kind.flags:  # refused on the CPU, by every path
            for foreach in (UNSET, True, False):
                yield repair(TiedTrainingCase(name, steps=2, foreach=foreach, capturable=True))
    yield from _gone_on()


def _gone_on() -> Iterator[TiedTrainingCase]:
    """Every pair of an optimizer's flags where the rate changes, and where the state is loaded, between the steps."""
    for name, kind in KINDS.items():
        axes: dict[str, tuple[Any, ...]] = {"dtype": ("float32", "float64"), "zero": ("to_none", "to_zeros")}
        axes |= {flag: (UNSET, *_two(values)) for flag, values in kind.flags.items() if flag != "capturable"}
        for axis, value in (("schedule", "step_lr"), ("event", "reloaded")):
            for position, flags in enumerate(covering(axes, 2, stream.derive(value, name))):
                yield repair(TiedTrainingCase(name, steps=4, seed=position).but(**flags, **{axis: value}))


def fixed_cases() -> Iterator[TiedTrainingCase]:
    """What must be refused; the first steps of L-BFGS on gradients that are faint; an eps that half precision lacks; sparse
    gradients that are set to zero; and tables of many rows, few of which have a gradient."""
    yield from _refusals()
    for dtype, max_iter, bias in itertools.product(FORMATS, (1, 2, UNSET), (False, True)):
        # The first step of L-BFGS is bounded by one over all elements together, and by the learning rate.
        yield repair(TiedTrainingCase("LBFGS", steps=2, dtype=dtype, max_iter=max_iter, bias=bias, faint=True))
    for seed, dtype in enumerate(FORMATS):
        axes: dict[str, Any] = {"uses": "lookup", "sparse": True, "max_iter": 1, "dtype": dtype, "seed": seed}
        yield repair(TiedTrainingCase("LBFGS", steps=2, **axes))
    for (name, kind), path in itertools.product(KINDS.items(), ("", "foreach", "fused")):
        if _adds_eps(name) and path in ("", *kind.flags):
            # The default in half precision, where it is zero, and rows that no token names.
            flags = {"eps": kind.defaults["eps"], **({path: True} if path else {"foreach": False})}
            yield repair(TiedTrainingCase(name, (5, 7), 2, uses="lookup", dtype="float16").but(**flags))
    for zero, foreach in itertools.product(KEPT_GRADIENTS[:2], (True, False)):
        yield repair(TiedTrainingCase("SGD", steps=3, uses="lookup", sparse=True, foreach=foreach, zero=zero))
    for name in KINDS:
        for path in paths(name):
            tall = TiedTrainingCase(name, (1025, 2), 3, uses="lookup", seed=1)
            yield repair(tall.but(**{path: True}) if path else tall)
    # A sparse gradient has more entries than there are rows, and lacks a row that the one before has.
    for name in ("SGD", "SparseAdam"):
        yield repair(TiedTrainingCase(name, (2, 3), 4, uses="lookup", sparse=True, seed=2))


def _two(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The first value and the last that is false where something else might be meant by it (0.0, False, None)."""
    false = [value for value in values[1:] if not value]
    return values[0], *(false[-1:] or values[1:2])


def _refusals() -> Iterator[TiedTrainingCase]:
    wrong: dict[str, tuple[Any, ...]] = {
        "lr": (-1.0, -0.5), "weight_decay": (-0.25,), "momentum": (-0.5,), "eps": (-1.0,), "rho": (-0.5, 1.5),
        "betas": ((1.0, 0.5), (0.5, 1.0), (-0.5, 0.5), (0.5, -0.5)), "lr_decay": (-0.5,), "momentum_decay": (-0.5,),
        "initial_accumulator_value": (-0.5,), "etas": ((0.0, 2.0), (1.5, 2.0), (0.5, 1.0)),
        "d": (0.5,), "beta2_decay": (0.5,),
    }  # fmt: skip
    for name, kind in KINDS.items():
        for flag in kind.flags:
            for value in wrong.get(flag, ()) if (name, flag) != ("Muon", "eps") else ():
                value = (value, 1e-3) if name == "Adafactor" and flag == "eps" else value
                yield TiedTrainingCase(name, seed=-1).but(**{flag: value})
        if "fused" in kind.flags:
            yield TiedTrainingCase(name, fused=True, foreach=True, seed=-1)
            yield TiedTrainingCase(name, fused=True, differentiable=True, seed=-1)
        for twice in ("once", "groups", "named", "groups_apart"):
            for tie in training_steps.TIES:
                yield TiedTrainingCase(name, tie=tie, twice=twice, seed=-1)
    for momentum, dampening in ((0.0, UNSET), (UNSET, UNSET), (0.5, 0.5)):
        yield TiedTrainingCase("SGD", nesterov=True, momentum=momentum, dampening=dampening, seed=-1)
    for name, tie, twice in itertools.product(KINDS, training_steps.TIES, ("bare", "half_named", "non_leaf")):
        yield TiedTrainingCase(name, tie=tie, twice=twice, seed=-1)


def draw(draws: stream.Stream) -> TiedTrainingCase:
    """A random case: a few axes away from their simplest values, and each of the optimizer's flags half the time."""
    name = draws.choice(AXES["optimizer"])
    drawn: dict[str, Any] = {"optimizer": name, "steps": draws.between(1, 8 if draws.chance(8) else 4)}
    drawn["shape"] = draws.choice(LARGE) if draws.chance(96) else draws.choice(SHAPES)
    for axis, values in AXES.items():
        if axis not in drawn and axis not in FLAGS and draws.chance(2):
            drawn[axis] = draws.choice(values)
    for flag, values in KINDS[name].flags.items():
        if draws.chance(2):
            drawn[flag] = draws.choice(values)
    return repair(TiedTrainingCase(**drawn, seed=draws.between(0, 1 << 16)))


def smaller(case: TiedTrainingCase) -> Iterator[TiedTrainingCase]:
    for steps in range(1, case.steps):
        yield case.but(steps=steps)
    for shape in SHAPES:
        if shape[0] * shape[1] < case.shape[0] * case.shape[1]:
            yield case.but(shape=shape)


SPACE = Space(
    TiedTrainingCase,
    AXES,
    repair,
    scope,
    fixed_cases,
    flags=("optimizer", "dtype", "bias", "foreach", "maximize"),
    base={"steps": 3, "weight_decay": 0.25},
    draw=draw,
    smaller=smaller,
    strength=2,
)
