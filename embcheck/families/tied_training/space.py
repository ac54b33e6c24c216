"""The space of tied training runs: every optimizer with every occasion, covers of its flags, refusals, random ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.space import Space, covering_rows
from embcheck.families.lr_scheduler.programs import FUNCTIONS
from embcheck.families.tied_training import optimizers, programs, training_steps
from embcheck.families.tied_training.between_steps import EVENTS, EVERY_STEP
from embcheck.families.tied_training.cases import WITHOUT_GRADIENT, TiedTrainingCase
from embcheck.families.tied_training.optimizers import FLAGS, KINDS, UNSET, chosen
from embcheck.families.tied_training.schedules import SCHEDULES

#: Layouts in which no two elements share memory.
LAYOUTS = ("contiguous", "transposed", "column_slice", "row_strided", "strided", "offset")
SHAPES = ((3, 2), (1, 1), (2, 3), (1, 4), (5, 1), (4, 8), (5, 7), (9, 16), (17, 5), (3, 33), (4, 4), (17, 3), (2, 11))
LARGE = ((65, 17), (33, 64), (129, 33), (257, 130))

#: Events after which the model is another object, whose sums may run in another order.
COPIES = frozenset({"copied", "pickled", "saved"})
_REPLACING = COPIES | {"reloaded", "reloaded_always", "reloaded_pickled", "reloaded_saved"}
#: Events after which the state's tensors are copies, whose strides are not promised.
RESTORING = _REPLACING | {"rewound"}
#: Optimizers whose eps is no term of a denominator of each element.
_ADDS_NO_EPS = frozenset({"Adafactor", "Muon"})
#: Optimizers that sum over the parameter.
_REDUCING = frozenset({"Adafactor", "Muon", "LBFGS"})


def plan(case: TiedTrainingCase) -> Plan:
    flags = chosen(case)
    weight = {"weight": case.inputs["weight"]}
    if case.twice:
        options = {"tie": training_steps.TIES[case.tie], "together": case.twice == "once", "sparse": case.sparse}
        return Plan(programs.list_twice, weight, {**options, "kind": case.optimizer, "flags": flags})
    if case.refused:
        return Plan(programs.construct, weight, {"kind": case.optimizer, "flags": flags})
    zero, clip = training_steps.ZEROS[case.zero], training_steps.CLIPS[case.clip]
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
        "schedule": _schedule(case),
        "gradients": (zero, clip, case.clip.startswith("norm")),
        "steps": tuple(steps),
        "closure": case.closure,
        "sparse": case.sparse,
    }
    return Plan(programs.train, case.inputs, options)


def _schedule(case: TiedTrainingCase) -> tuple[Any, ...]:
    """What makes the scheduler, if there is one: what its steps are given, its class and arguments, and a function."""
    schedule = SCHEDULES[case.schedule]
    if schedule is None:
        return ()
    function = [FUNCTIONS[schedule.function]] if schedule.function else []
    return ((1.0,) if case.schedule == "plateau" else (), *schedule[:3], *function)


def repair(case: TiedTrainingCase) -> TiedTrainingCase | None:
    """The case with axes made to fit each other, without which a row of them would mean nothing."""
    kind = KINDS[case.optimizer]
    changes: dict[str, Any] = {name: UNSET for name in FLAGS if name not in kind.flags and getattr(case, name) != UNSET}
    for name, values in kind.flags.items():
        value = getattr(case, name)
        if value != UNSET and repr(value) not in {repr(v) for v in values} and repr(value) in _KNOWN[name]:
            changes[name] = values[len(repr(value)) % len(values)]
    case = case.but(**changes) if changes else case
    if case.twice or (optimizers.invalid(case) and not _meant(case)):
        case = _valid(case)
    return _fitted(case)


#: Every value of an axis as it prints: what is not among them was put there on purpose.
_KNOWN = {name: frozenset(map(repr, values)) for name, values in FLAGS.items()}


def _meant(case: TiedTrainingCase) -> bool:
    """Whether invalid flags come from the enumeration of refusals and not from an unlucky row."""
    return case.seed == -1


def _valid(case: TiedTrainingCase) -> TiedTrainingCase:
    changes: dict[str, Any] = {}
    if case.optimizer == "SGD" and case.nesterov is True:
        changes |= {"momentum": 0.5, "dampening": UNSET}
    if case.fused is True:
        changes |= {"foreach": UNSET if case.foreach is True else case.foreach}
        changes |= {"differentiable": UNSET if case.differentiable is True else case.differentiable}
    return case.but(**changes)


def _fitted(case: TiedTrainingCase) -> TiedTrainingCase | None:
    changes: dict[str, Any] = {}

    def fit(**wanted: Any) -> None:
        nonlocal case
        case = case.but(**wanted)

    if case.optimizer == "SparseAdam":
        fit(sparse=True)
    if case.sparse and "sparse" in KINDS[case.optimizer].takes:
        fit(uses="lookup", bias=False)
        fit(backward_pass="pair" if case.backward_pass == "composed" else case.backward_pass)
    elif case.sparse and case.uses == "turns":
        fit(uses="lookup")
    if case.optimizer == "Muon":
        fit(bias=False, ns_steps=1 if case.ns_steps == UNSET and case.seed % 4 else case.ns_steps)  # five: no bound
    if case.optimizer == "LBFGS":
        fit(closure=True, backward_pass="joint", clip="unclipped")
        fit(event=case.event if case.event not in WITHOUT_GRADIENT else "nothing")
        fit(zero="to_none" if case.zero == "never" else case.zero)
        fit(max_iter=1 if case.max_iter == UNSET and (case.seed + 1) % 8 else case.max_iter)  # 20 evaluations are slow
        fit(listing="listed" if case.listing in ("bare_groups", "own_rate", "added_last") else case.listing)
        fit(event="nothing" if case.event in ("group_added", "accumulated", "alternating") else case.event)
    if case.backward_pass == "composed":
        fits = case.shape[0] <= 9 and case.shape[1] <= 8 and case.tie != "three_way" and case.optimizer != "LBFGS"
        fit(steps=1, uses="both") if fits else fit(backward_pass="pair")
    if case.steps == 1:
        fit(event="nothing" if case.event in WITHOUT_GRADIENT | {"accumulated", "alternating"} else case.event)
    if case.uses == "turns" and case.steps == 1:
        fit(uses="both")
    if case.is_sparse:
        fit(grad_layout="fresh", clip="unclipped")
        clears = {"never": "by_hand"}
        if case.event in WITHOUT_GRADIENT:  # in which a cleared gradient has no rows
            clears |= {"to_zeros": "to_none", "model_to_zeros": "model_to_none"}
        fit(zero=clears.get(case.zero, case.zero))
    if case.zero == "never" and (case.event in WITHOUT_GRADIENT | COPIES or case.clip != "unclipped"):
        fit(zero="to_none")  # a copy of a Parameter has no gradient to go on with
    if case.event == "frozen":
        fit(zero="to_none", grad_layout="fresh", closure=False)
    if case.grad_layout != "fresh" and case.zero not in ("to_zeros", "model_to_zeros", "never"):
        fit(zero="to_zeros")
    if case.event in _REPLACING | {"alternating", "rate_halved", "rewound", "hooked"} and case.schedule != "constant":
        fit(schedule="constant") if case.event != "hooked" else None
    if case.optimizer in _REDUCING and case.event in COPIES:
        fit(layout="contiguous")  # a copy may lie otherwise in memory, and a sum in another order rounds otherwise
    if case.event == "rewound":
        fit(grad_layout="fresh", zero="to_none")
    if case.event == "group_added":
        fit(listing="one_group" if case.listing == "named" else case.listing, schedule="constant")
    if case.listing in ("own_rate", "added_last") and case.event in ("reloaded_always",):
        fit(event="nothing")
    if case.differentiable is True:
        fit(closure=False, foreach=UNSET if case.foreach is True and case.seed % 8 else case.foreach)
    if case.tensor_hyperparameters == "betas" and case.optimizer not in ("Adam", "AdamW"):
        fit(tensor_hyperparameters="lr")
    if case.tensor_hyperparameters and case.optimizer == "Muon":
        fit(tensor_hyperparameters="")
    if ("lr" in case.tensor_hyperparameters and case.lr == UNSET) or (
        case.tensor_hyperparameters and isinstance(case.lr, int)
    ):
        fit(lr=0.5)
    if case.tensor_hyperparameters == "betas":
        fit(betas=(0.5, 0.75) if case.betas == UNSET else case.betas)
    adds_eps = "eps" in KINDS[case.optimizer].flags and case.optimizer not in _ADDS_NO_EPS
    if case.dtype == "float16" and case.eps == UNSET and adds_eps:
        fit(eps=2.0**-6)  # the default underflows in half precision: a row of zeros would be 0/0
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "optimizer": tuple(KINDS),
    "shape": SHAPES,
    "steps": (1, 2, 3, 4),
    "tie": tuple(training_steps.TIES),
    "uses": ("both", "lookup", "head", "turns"),
    "bias": (False, True),
    "sparse": (False, True),
    "dtype": ("float32", "float64", "bfloat16", "float16"),
    "layout": LAYOUTS,
    "grad_layout": ("fresh", *LAYOUTS),
    "listing": tuple(training_steps.LISTINGS),
    "backward_pass": tuple(training_steps.LAPS),
    "zero": tuple(training_steps.ZEROS),
    "event": tuple(EVENTS),
    "schedule": tuple(SCHEDULES),
    "clip": tuple(training_steps.CLIPS),
    "closure": (False, True),
    "tensor_hyperparameters": ("", "lr", "betas"),
    **FLAGS,
}


def scope() -> Iterator[TiedTrainingCase]:
    """Every optimizer with every event, tie, listing, schedule and dtype, then a three-wise cover of its own flags."""
    for name in KINDS:
        for axis in (
            "event",
            "schedule",
            "tie",
            "listing",
            "backward_pass",
            "zero",
            "clip",
            "dtype",
            "layout",
            "grad_layout",
        ):
            for position, value in enumerate(AXES[axis]):
                for bias in (False, True):
                    yield from _some(TiedTrainingCase(name, steps=3, bias=bias, seed=position).but(**{axis: value}))
    for name, kind in KINDS.items():
        axes: dict[str, tuple[Any, ...]] = {"bias": (False, True), "uses": ("both", "lookup")}
        axes |= {flag: (UNSET, *_two(values)) for flag, values in kind.flags.items()}
        axes |= {"sparse": (False, True)} if kind.takes == {"dense", "sparse"} else {}
        choices = list(axes.values())
        rows = covering_rows([len(values) for values in choices], 3, stream.derive("flags", name)).tolist()
        for position, row in enumerate(rows):
            chosen: dict[str, Any] = {axis: values[k] for axis, values, k in zip(axes, choices, row, strict=True)}
            yield from _some(TiedTrainingCase(name, steps=(3, 2, 4, 3, 1)[position % 5], seed=position).but(**chosen))
    for steps, betas in itertools.product((6, 7, 8), (UNSET, (0.5, 0.99))):
        for flag in ("foreach", "differentiable", "decoupled_weight_decay", "maximize"):
            # With an eps that shows: only the rectified steps, from the sixth on, add it.
            case = TiedTrainingCase("RAdam", steps=steps, betas=betas, eps=2.0**-6, weight_decay=0.25)
            yield from _some(case.but(**{flag: True}))
    for name, kind in KINDS.items():
        if "capturable" in kind.flags:  # refused on the CPU, by every path
            for foreach in (UNSET, True, False):
                yield from _some(TiedTrainingCase(name, steps=2, foreach=foreach, capturable=True))
    yield from _gone_on()


def _gone_on() -> Iterator[TiedTrainingCase]:
    """Every pair of an optimizer's flags where the rate changes, and where the state is loaded, between the steps."""
    for name, kind in KINDS.items():
        axes: dict[str, tuple[Any, ...]] = {"dtype": ("float32", "float64"), "zero": ("to_none", "to_zeros")}
        axes |= {flag: (UNSET, *_two(values)) for flag, values in kind.flags.items() if flag != "capturable"}
        for axis, value in (("schedule", "step_lr"), ("event", "reloaded")):
            rows = covering_rows([len(values) for values in axes.values()], 2, stream.derive(value, name)).tolist()
            for position, row in enumerate(rows):
                chosen = {flag: values[k] for (flag, values), k in zip(axes.items(), row, strict=True)}
                yield from _some(TiedTrainingCase(name, steps=4, seed=position).but(**chosen, **{axis: value}))


def fixed_cases() -> Iterator[TiedTrainingCase]:
    """What must be refused, then each path of each optimizer with one flag at a time, on gradients that stay where they
    are between steps.

    No flag hides another's effect, and what a step keeps of a gradient by reference changes with the next one.  Rows
    that are looked up in some steps alone have a gradient of zero in the others, which is a gradient all the same.
    """
    yield from _refusals()
    yield from _shaped()
    for dtype, max_iter, bias in itertools.product(FORMATS, (1, 2, UNSET), (False, True)):
        # The first step of L-BFGS is bounded by one over all elements together, and by the learning rate.
        yield from _some(TiedTrainingCase("LBFGS", steps=2, dtype=dtype, max_iter=max_iter, bias=bias, faint=True))
    paths = (("foreach", False), ("foreach", True), ("fused", True), ("differentiable", True))
    for name, kind in KINDS.items():
        single = [(flag, values[0]) for flag, values in kind.flags.items() if flag not in dict(paths)]
        ways = [way for way in paths if way[0] in kind.flags]
        for way, alone, zero in itertools.product(ways, single, ("to_zeros", "never")):
            pausing = {"uses": "lookup", "shape": (5, 7), "steps": 4} if zero == "to_zeros" else {}
            yield from _some(TiedTrainingCase(name, steps=3, zero=zero).but(**pausing, **dict((way, alone))))
    for name, dtype, event in itertools.product(KINDS, FORMATS, ("reloaded", "rewound", "copied")):
        # As it is by default: an option of zero would hide what else is forgotten on the way.
        yield from _some(TiedTrainingCase(name, steps=3, dtype=dtype, event=event))
    for (name, kind), path in itertools.product(KINDS.items(), ("", "foreach", "fused")):
        if "eps" in kind.flags and name not in _ADDS_NO_EPS and path in ("", *kind.flags):
            # The default in half precision, where it is zero, and rows that no token names.
            chosen = {"eps": kind.defaults["eps"], **({path: True} if path else {"foreach": False})}
            yield from _some(TiedTrainingCase(name, (5, 7), 2, uses="lookup", dtype="float16").but(**chosen))


def _shaped() -> Iterator[TiedTrainingCase]:
    """Tall, wide and square tables, with each flag of optimizers that look at a table's shape."""
    for turn, shape in enumerate(((17, 3), (2, 11), (4, 4), (5, 1), (1, 4))):
        seed = 2 * turn + 1  # an even one asks Muon for five steps, of which there is no bound
        for name in ("Muon", "Adafactor"):
            own = [(flag, value) for flag, values in KINDS[name].flags.items() for value in values]
            own = [(flag, value) for flag, value in own if flag in ("adjust_lr_fn", "nesterov", "d", "eps", "foreach")]
            for flag, value in own:
                yield from _some(TiedTrainingCase(name, shape, 2, seed=seed).but(**{flag: value}))
        yield from _some(
            TiedTrainingCase("SGD", shape, 2, layout="transposed", foreach=True, zero="to_zeros", seed=seed)
        )
        for dtype, nesterov in itertools.product(FORMATS, (True, False)):
            yield from _some(
                TiedTrainingCase("Muon", shape, 3, dtype=dtype, nesterov=nesterov, momentum=0.5, seed=seed)
            )


def _two(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The first value and the last that is false where something else might be meant by it (0.0, False, None)."""
    false = [value for value in values[1:] if not value]
    return values[0], *(false[-1:] or values[1:2])


def _some(case: TiedTrainingCase) -> Iterator[TiedTrainingCase]:
    fitted = repair(case)
    if fitted is not None:
        yield fitted


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
        for twice in ("once", "groups"):
            for tie in training_steps.TIES:
                yield TiedTrainingCase(name, tie=tie, twice=twice, seed=-1)
    for momentum, dampening in ((0.0, UNSET), (UNSET, UNSET), (0.5, 0.5)):
        yield TiedTrainingCase("SGD", nesterov=True, momentum=momentum, dampening=dampening, seed=-1)


def draw(draws: stream.Stream) -> TiedTrainingCase | None:
    """A random case: a few axes away from their simplest values, and each of the optimizer's flags half the time."""
    name = draws.choice(AXES["optimizer"])
    chosen: dict[str, Any] = {"optimizer": name, "steps": draws.between(1, 8 if draws.chance(8) else 4)}
    chosen["shape"] = draws.choice(LARGE) if draws.chance(96) else draws.choice(SHAPES)
    for axis, values in AXES.items():
        if axis not in chosen and axis not in FLAGS and draws.chance(2):
            chosen[axis] = draws.choice(values)
    for flag, values in KINDS[name].flags.items():
        if draws.chance(2):
            chosen[flag] = draws.choice(values)
    return repair(TiedTrainingCase(**chosen, seed=draws.between(0, 1 << 16)))


def smaller(case: TiedTrainingCase) -> Iterator[TiedTrainingCase]:
    """Fewer steps and smaller tables."""
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
