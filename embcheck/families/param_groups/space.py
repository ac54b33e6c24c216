"""The space of companies: every optimizer over mixed parameters with each flag, and steps without gradients."""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

from embcheck.core import stream
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.core.targets import Wish
from embcheck.families.lookup.aimed_tokens import attempts
from embcheck.families.param_groups import gradient_layouts, programs
from embcheck.families.param_groups.aimed import step_case
from embcheck.families.param_groups.cases import ABSENCES, BEGINNINGS, GROUPINGS, LAID, ParamGroupsCase
from embcheck.families.param_groups.mixes import MIXES
from embcheck.families.tied_training.optimizers import KINDS, paths

#: Optimizers that step each parameter by itself, of any rank; L-BFGS looks at all of them.
OPTIMIZERS = (
    *("SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "NAdam", "RAdam", "Adamax", "Adadelta", "ASGD", "Rprop"),
    *("Adafactor", "SparseAdam", "Muon"),
)
#: Flags of the path, not of the algorithm; a group of its own is given none of them.
_OF_THE_PATH = ("foreach", "fused", "differentiable", "capturable")
#: Flags that an optimizer refuses beside sparse gradients, or has no sparse arithmetic for in every dtype.
_OF_DENSE = ("weight_decay", "momentum", "dampening", "nesterov", "fused")
#: Optimizers that take real parameters alone.
_REAL = ("Adafactor", "SparseAdam", "Muon")
PATHS = ("", "foreach", "fused")
#: Every optimizer with each path that it has.
_ON_PATHS = [(name, path) for name in OPTIMIZERS for path in paths(name)]
#: How many steps of parameters of any shape, dtype and layout the scope has of each optimizer on each path.
_ANY = 18
#: Options of the last group beside those of the others.
OWN: tuple[tuple[tuple[str, Any], ...], ...] = ((), (("lr", 0.125),), (("lr", 1), ("weight_decay", 0.25)))
#: Flags with which an optimizer keeps more than it must.
RICH: dict[str, tuple[tuple[str, Any], ...]] = {
    "SGD": (("momentum", 0.5),),
    # With a memory so short that gradients of 4 and then of 1 make the average fall below its maximum.
    "Adam": (("amsgrad", True), ("betas", (0.5, 0.75))),
    "AdamW": (("amsgrad", True), ("betas", (0.5, 0.75))),
    "RMSprop": (("momentum", 0.5), ("centered", True)),
}


def plan(case: ParamGroupsCase) -> Plan:
    other = {"foreach": None, "fused": None} if case.path else {"foreach": True}
    before = {name: value for name, value in other.items() if name in KINDS[case.optimizer].flags}
    before = before if case.interrupt == "path" else {}
    options = {
        "optimizer": (case.optimizer, case.asked),
        "groups": tuple((names, own, int(place >= case.late)) for place, (names, own) in enumerate(case.groups)),
        "given": case.given,
        # Those get their gradients by hand.
        "frozen": tuple(range(len(case.members) if case.differentiable else case.frozen)),
        "held": case.held,
        "gradient": gradient_layouts.LAID[case.lie],
        "interrupt": (programs.BREAKS[case.interrupt], case.at, before),
        "closure": case.closure,
        "setting": (programs.SETTINGS[case.setting], case.since),
        "compare": case.compared,
    }
    return Plan(programs.accompany, case.inputs(), options)


def _one_order(case: ParamGroupsCase) -> bool:
    """Whether every gradient lies as its parameter does, without gaps."""
    dense = all(
        each.layout in ("contiguous", "offset", "transposed", *("swapped",) * (len(each.shape) > 2))
        for each in case.members
    )
    return dense and not case.crosswise and not case.laid


def repair(case: ParamGroupsCase) -> ParamGroupsCase:
    known, takes = KINDS[case.optimizer].flags, KINDS[case.optimizer].takes
    if case.setting != "nothing":
        # Nothing else happens; what these two count has more digits where double is the default.
        setting = "half" if case.setting == "double" and case.optimizer in ("ASGD", "NAdam") else case.setting
        plain = ParamGroupsCase(case.optimizer, path=case.path, sparse=case.sparse, seed=case.seed)
        case = plain.but(setting=setting, since=case.since)
    sparse = "dense" not in takes or (case.sparse and "sparse" in takes)
    # Only plain steps can be differentiated.
    other = sparse or case.path or case.interrupt == "path" or any(dict(case.flags).get(path) for path in PATHS[1:])
    captured = () if case.path == "fused" else ("capturable",)  # which other steps refuse on the CPU
    never = (*captured, *(_OF_DENSE if sparse else ()), *(("differentiable",) if other else ()))
    flags = {name: value for name, value in case.flags if name in known and name not in never}
    if len(flags) == 1 and not set(flags.values()) <= {*known[next(iter(flags))]}:
        flags = {}  # another optimizer's value
    own = {name: value for name, value in case.own if name in known and name not in (*_OF_THE_PATH, *never)}
    if flags.get("nesterov") and not (flags.get("momentum") and not flags.get("dampening")):
        flags["momentum"], flags["dampening"] = 0.5, 0
    if own.get("nesterov") and not own.get("momentum") and case.mix in MIXES:
        own["momentum"] = 0.5
    path = case.path if case.path in known and case.path not in never else ""
    if path or (flags.get("fused") and (flags.get("foreach") or not _one_order(case))):
        flags |= {name: False for name in ("fused", "foreach") if flags.get(name)}
    flat = path == "fused" and not _one_order(case)
    if flat and case.optimizer == "SGD" and case.half_vector:
        path, flat = "", False  # a kernel that does not store what it computes: see the ledger
    if flat:
        own.pop("initial_accumulator_value", None)  # another entry of the ledger, of which one would hide the other
    changes: dict[str, Any] = {"flags": tuple(flags.items()), "own": tuple(own.items()), "path": path, "sparse": sparse}
    if case.setting == "nothing":
        changes["since"] = 0
    if sparse:
        changes |= {"crosswise": False, "laid": ""}
    if case.laid:
        changes |= {"held": False, "crosswise": False}
    nesterov = flags.get("nesterov") or own.get("nesterov")
    writes = nesterov and case.optimizer == "SGD"  # foreach steps, to the gradient: see the ledger
    if case.interrupt == "path" and (flat or (not path and (writes or flags.get("fused")))):
        changes["interrupt"] = "nothing"  # the path before it is foreach, with which flat memory has no short formula
    unfit = case.optimizer in _REAL or path == "fused" or flags.get("fused")  # fused kernels are refused for them
    if case.mix == "matrices" or (case.mix == "complexes" and (unfit or case.laid)):
        changes["mix"] = "pair"
    if case.optimizer == "SparseAdam":
        # Without dense dimensions a sparse gradient goes astray: see the ledger.
        changes["mix"] = case.mix if min(case.ranks, default=0) > 1 or case.mix == "matrices" else "pair"
    if case.optimizer == "Muon":
        changes["mix"] = case.mix if case.ranks == {2} else "matrices"
        changes["flags"] = tuple({"ns_steps": 1, **flags}.items())  # of five there is no bound
    mix = changes.get("mix", case.mix)
    if mix in MIXES and (case.grouping in ("together", "reversed") or len(MIXES[mix]) == 1):
        changes["own"] = ()
    if case.steps < 2:
        changes |= {"grouping": "each" if case.grouping == "late" else case.grouping}
    if case.steps <= case.at:
        changes |= {"interrupt": "nothing", "at": 1}
    return case.but(**changes)


def fixed_cases() -> Iterator[ParamGroupsCase]:
    """What an optimizer keeps, over steps of which some have no gradient."""
    for name, (absence, path) in itertools.product(OPTIMIZERS, itertools.product(ABSENCES[1:], ("", "foreach"))):
        yield ParamGroupsCase(name, "pair", "together", absence, path, RICH.get(name, ()), steps=4)
    for name in ("SGD", "Adagrad", "SparseAdam"):  # which take sparse gradients, beside which none decays weights
        taken = BEGINNINGS - {"weight_decay"}
        flags = tuple((flag, values[0]) for flag, values in KINDS[name].flags.items() if flag in taken)
        yield ParamGroupsCase(name, flags=flags, steps=4, sparse=True)
    for interrupt in programs.BREAKS:
        yield ParamGroupsCase(flags=RICH["SGD"], interrupt=interrupt, steps=4)
    yield ParamGroupsCase(mix="dtypes", path="foreach", held=True)  # whose gradients are zeroed together
    yield from begun_late()
    yield from switched()
    yield from laid_out()
    for adjusted in KINDS["Muon"].flags["adjust_lr_fn"]:
        yield ParamGroupsCase("Muon", "matrices", flags=(("adjust_lr_fn", adjusted),))
    yield ParamGroupsCase(interrupt="differentiated_wholly", steps=4)


def elsewhere() -> Iterator[ParamGroupsCase]:
    """Every optimizer on each path under another default device or dtype, from the first step on or later."""
    chosen = itertools.product(OPTIMIZERS, PATHS, tuple(programs.SETTINGS)[1:], (0, 1), (False, True))
    for seed, (name, path, setting, since, sparse) in enumerate(chosen):
        yield ParamGroupsCase(name, path=path, setting=setting, since=since, sparse=sparse, seed=seed)


def begun_late() -> Iterator[ParamGroupsCase]:
    """First steps of some parameters beside later ones of others, on every path, with all that a beginning depends on;
    and steps by turns upwards, of parameters of every rank, over which what is kept must last."""
    for name, path in _ON_PATHS:
        flags = tuple((flag, values[0]) for flag, values in KINDS[name].flags.items() if flag in BEGINNINGS)
        yield ParamGroupsCase(name, "pair", "together", "first_at_first", path, flags, steps=4)
        yield ParamGroupsCase(name, "ranks", "together", "by_turns", path, (*flags, ("maximize", True)), steps=8)


def laid_out() -> Iterator[ParamGroupsCase]:
    """Squares and others whose gradients lie in the other order, and every length of a vector's rest."""
    for name, path in _ON_PATHS:
        rich = ParamGroupsCase(name, path=path, flags=RICH.get(name, ()))
        yield rich.but(mix="lengths", steps=2)
        if path != "fused":
            yield from (rich.but(mix="wide", laid=laid) for laid in LAID[1:])
            yield rich.but(mix="squares", crosswise=True)


#: What each switch is turned on beside; the betas only where a memory of many steps hides the switch.
_BESIDE = (("weight_decay", 0.25), ("momentum", 0.5), ("dampening", 0.5), ("momentum_decay", 0.5))


def switched() -> Iterator[ParamGroupsCase]:
    """Every switch beside weight decay and momentum, on every path, down and up."""
    switches = ("maximize", "amsgrad", "centered", "nesterov", "decoupled_weight_decay")
    for (name, path), flag in itertools.product(_ON_PATHS, switches):
        if flag not in KINDS[name].flags:
            continue
        beside = (_BESIDE[:2] if flag == "nesterov" else _BESIDE) + (("betas", (0.5, 0.75)),) * (flag == "amsgrad")
        flags = ((flag, True), *beside)
        if flag != "maximize":
            yield ParamGroupsCase(name, "pair", path=path, flags=flags, steps=8)
        for seed, mix in enumerate(("lengths", "pair")):
            climbing = (("maximize", True), *flags)
            yield ParamGroupsCase(name, mix, path=path, flags=climbing, steps=8, seed=1 + seed)


def scope() -> Iterator[ParamGroupsCase]:
    """Every setting; each option of a group of its own beside another one for everybody; each value of each flag alone; every mix
    whose state is loaded; steps of any parameters."""
    return itertools.chain(map(repair, itertools.chain(elsewhere(), _own_options(), _alone(), _loaded())), _of_any())


def _of_any() -> Iterator[ParamGroupsCase]:
    """As many steps of every optimizer on each path, of parameters of any shape, dtype and layout."""
    for (name, path), seed in itertools.product(_ON_PATHS, range(_ANY)):
        wish = Wish(stream.Stream(stream.derive("steps of any parameters", name, path, seed), 64))
        case = attempts(wish, partial(step_case, optimizers=(name,), path=path))
        yield from [] if case is None else [repair(case)]


def _loaded() -> Iterator[ParamGroupsCase]:
    """Every optimizer of every mix goes on with a state that it loaded."""
    for seed, (name, mix) in enumerate(itertools.product(OPTIMIZERS, MIXES)):
        grouping, interrupt = GROUPINGS[seed % 2], ("reloaded", "saved")[seed // 2 % 2]
        path = PATHS[seed % 3]
        yield ParamGroupsCase(name, mix, grouping, path=path, flags=RICH.get(name, ()), interrupt=interrupt, seed=seed)


def _own_options() -> Iterator[ParamGroupsCase]:
    for name, kind in KINDS.items():
        steps = 7 if name == "RAdam" else 3  # of which five are not rectified
        for flag, values in kind.flags.items():
            pairs = itertools.product(values, values) if name in OPTIMIZERS and flag not in _OF_THE_PATH else ()
            for seed, (value, other) in enumerate(pairs):
                # A falsy value is a value, beside another one and beside the default of a group that comes later.
                beside = _BESIDE[:1] if flag == "decoupled_weight_decay" else ()
                options: dict[str, Any] = {"flags": ((flag, other), *beside), "own": ((flag, value),), "steps": steps}
                yield ParamGroupsCase(name, "pair", ("each", "late")[seed % 2], **options, seed=seed)


def _alone() -> Iterator[ParamGroupsCase]:
    chosen = itertools.product(OPTIMIZERS, ("ranks", "complexes"), FLAGS, (False, True))
    for seed, (name, mix, flags, sparse) in enumerate(chosen):
        if all(flag in KINDS[name].flags for flag, _ in flags) and (not sparse or "sparse" in KINDS[name].takes):
            grouping, absence = ("together", "each")[seed % 2], ABSENCES[seed % len(ABSENCES)]
            path = ("", "foreach")[seed // 2 % 2]
            mix = "pair" if sparse and mix == "ranks" else mix  # of which the first has a gradient that is sparse
            yield ParamGroupsCase(name, mix, grouping, absence, path, flags, steps=6, sparse=sparse, seed=seed)


#: No flag, what an optimizer keeps the most with, and each value of each flag of an algorithm, alone.
FLAGS: tuple[tuple[tuple[str, Any], ...], ...] = tuple(
    dict.fromkeys(
        [
            (),
            (("betas", (0.5, 0.75)), ("alpha", 0.5)),
            *RICH.values(),
            *(
                ((flag, value),)
                for name in OPTIMIZERS
                for flag, values in KINDS[name].flags.items()
                for value in values
                if flag not in _OF_THE_PATH
            ),
        ]
    )
)
AXES: dict[str, tuple[Any, ...]] = {
    "optimizer": OPTIMIZERS,
    "mix": tuple(MIXES),
    "grouping": GROUPINGS,
    "absence": ABSENCES,
    "path": PATHS,
    "flags": FLAGS,
    "own": OWN,
    "interrupt": tuple(programs.BREAKS),
    "steps": (3, 1, 2, 4, 6, 12),
    **dict.fromkeys(("held", "frozen", "faint", "closure", "crosswise", "sparse"), (False, True)),
    "setting": tuple(programs.SETTINGS),
    "since": (0, 1),
    "laid": LAID,
}


def draw(draws: stream.Stream) -> ParamGroupsCase:
    """A random case: each axis at another value half of the time, and several flags."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    chosen["optimizer"] = draws.choice(OPTIMIZERS)
    known = KINDS[chosen["optimizer"]].flags
    for which, rarely in (("flags", 3), ("own", 4)):
        chosen[which] = tuple((name, draws.choice(values)) for name, values in known.items() if draws.chance(rarely))
    return repair(ParamGroupsCase(**chosen, seed=draws.between(0, 255)))


#: The cover has nearly every three of these and of the mixes.
_FLAGS = ("optimizer", "path")
SPACE = Space(
    ParamGroupsCase,
    AXES,
    repair,
    scope,
    fixed_cases,
    _FLAGS,
    draw=draw,
    strength=2,
    aim=lambda wish: attempts(wish, lambda each: step_case(each, OPTIMIZERS)),
    aims=0.15,
)
