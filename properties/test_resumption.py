"""Resumption: an optimizer that loads another's state goes on as that one would, and reading a state changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck import stream
from embcheck.comparison import every, identical, is_true, same, unwritten
from embcheck.law import Family, Plan
from embcheck.outcome import Outcome
from embcheck.result import UNASKED, Finding
from embcheck.space import Space
from embcheck.training.carriage import CARRIES, LOADS, SAVES
from embcheck.training.occasion import TIES
from embcheck.training.optimizer import KINDS
from embcheck.training.release import lacking
from embcheck.training.resumption import advance, look, name, resume
from embcheck.training.resumption_case import BY_NAME, FROZEN, GROUPS, NAMES, Resumption

#: Optimizers that take a learning rate as a tensor on every path that a case has then.
BOXED = ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "NAdam", "RAdam", "Adamax", "Adadelta", "ASGD", "Rprop")


def plan(case: Resumption) -> Plan:
    asked: dict[str, Any] | None = None
    if case.by_name:
        asked = {"strict": not case.lacking}
        asked |= {"flatten_optimizer_state_dict": True} if case.route == "flat" else {}
    options = {
        "tie": TIES[case.tie],
        "kind": case.optimizer,
        "flags": case.flags,
        "own": case.own,
        "groups": tuple((names, case.rate(names[0]) if names else 0.75) for names in GROUPS[case.groups]),
        "turned": case.turned,
        "boxed": case.boxed,
        "steps": case.steps,
        "idle": FROZEN[case.idle],
        "frozen": FROZEN[case.frozen],
        "graded": case.graded,
        "warm": case.warm,
        "scaled": case.scaled,
        "asked": asked,
        "save": SAVES[case.route],
        "load": LOADS[case.route],
        "carry": CARRIES[case.carried],
        "apart": case.carried != "handed",
        "advance": advance,
        "look": look,
        "name": name,
    }
    return Plan(resume, case.inputs(), options)


def canonical(case: Resumption) -> Resumption | None:
    """The case with flags that the optimizer has, and members that its groups have."""
    changes: dict[str, Any] = {}
    known = KINDS[case.optimizer].flags
    changes["path"] = case.path if case.path in known and not case.boxed else ""
    changes["loader"] = case.loader if case.loader in known else ""
    if case.boxed and case.optimizer not in BOXED:
        changes["boxed"] = False
    if case.optimizer == "LBFGS":  # it takes one group, keeps all under its first member, and flattens no lists
        changes |= {"groups": "pair" if len(GROUPS[case.groups]) > 1 else case.groups, "scaled": False, "turned": False}
        changes |= {"route": "named"} if case.route == "flat" else {}
    if not case.by_name or case.groups == "alone":
        changes["turned"] = False  # a state without names goes by the places
    members = GROUPS[changes.get("groups", case.groups)]
    if (1,) not in members and members == ((0,),):
        changes |= {"frozen": "tied" if case.frozen != "none" else "none", "idle": "none"}
    if case.steps == 0:
        changes["idle"] = "none"
    if case.optimizer == "SGD" and case.rich and changes["path"] == "fused" and case.idle != "none":
        changes["path"] = ""  # a first gradient that comes late: see the ledger
    return one_trouble(case.but(**changes))


def one_trouble(case: Resumption) -> Resumption:
    """The case with at most one of what loading by name gets wrong, lest one hides another, and mostly with none."""
    if not case.by_name:
        return case
    if case.seed % 3:
        case = case.but(frozen="none", groups="two_groups" if case.groups.startswith("empty") else case.groups)
    empty = case.groups.startswith("empty") and (case.route == "flat" or case.groups != "empty_last")
    changes: dict[str, Any] = {}
    if empty:
        changes["frozen"] = "none"
    if empty or case.frozen != "none":
        changes["idle"] = "none"
    if empty or case.frozen != "none" or (case.idle != "none" and case.route == "flat"):
        changes["steps"] = case.steps or 1
        if case.optimizer in ("SparseAdam", "LBFGS"):
            changes["warm"] = True
    return case.but(**changes)


#: Optimizers that differ in what they keep, and when they begin to; the others are in the scope and among the drawn.
SEVERAL = ("Adam", "SGD", "Adagrad", "RMSprop", "NAdam", "ASGD", "Rprop", "LBFGS", "SparseAdam")
AXES: dict[str, tuple[Any, ...]] = {
    "optimizer": SEVERAL,
    "route": tuple(SAVES),
    "carried": ("copied", "filed", "handed"),
    "steps": (1, 0, 2),
    "tie": tuple(NAMES),
    "groups": tuple(GROUPS),
    "frozen": tuple(FROZEN),
    "idle": tuple(FROZEN),
    "graded": (False, True),
    "warm": (False, True),
    "turned": (False, True),
    "rich": (True, False),
    "path": ("", "foreach", "fused"),
    "loader": ("", "foreach", "fused"),
    "scaled": (False, True),
    "boxed": (False, True),
}


def landmarks() -> Iterator[Resumption]:
    """One case of everything that a law must have met."""
    for route in SAVES:
        yield Resumption(route=route, steps=0, graded=True, carried="filed")
        yield Resumption("AdamW", route, scaled=True, path="fused", loader="fused", warm=True)
        yield Resumption("SGD", route, rich=False, graded=True, frozen="side", tie="three_way")
        yield Resumption("SGD", route, groups="two_groups", path="foreach", turned=route in BY_NAME)
    yield Resumption(steps=0)
    yield Resumption(route="named", idle="side")
    yield Resumption(frozen="side", groups="two_groups")
    yield Resumption("Adagrad", carried="handed", boxed=True, groups="alone")
    yield Resumption(groups="empty_last", tie="same_module_twice")


def scope() -> Iterator[Resumption]:
    """Every optimizer on every route, fresh and not; some states that were converted to checkpoints and back."""
    for seed, (kind, route, steps) in enumerate(itertools.product(KINDS, SAVES, (2, 0))):
        yield from _fitted(Resumption(kind, route, steps=steps, warm=seed % 3 == 0, seed=seed))
    for kind, route in itertools.product(("SGD", "Adam", "Adafactor"), ("plain", "named", "flat")):
        yield Resumption(kind, route, carried="converted", groups="two_groups")
    yield Resumption("LBFGS", "whole", carried="converted", warm=True)
    yield Resumption(steps=0, carried="converted")
    yield Resumption("SGD", "named", rich=False, graded=True, carried="converted")


def _fitted(case: Resumption) -> Iterator[Resumption]:
    found = canonical(case)
    if found is not None:
        yield found


def draw(draws: stream.Stream) -> Resumption | None:
    """A random case: each axis at another value half of the time."""
    chosen = {each: draws.choice(values) if draws.chance(2) else values[0] for each, values in AXES.items()}
    chosen |= {"optimizer": draws.choice(tuple(KINDS)), "route": draws.choice(tuple(SAVES))}
    return canonical(Resumption(**chosen, seed=draws.between(0, 255)))


resumption = Family(
    "resumption",
    Space(Resumption, AXES, canonical, scope, landmarks, flags=("groups", "route"), draw=draw, strength=2),
    plan,
    cost=16.0,
    not_applicable=lambda case, out: str(out.seen["lacking"]) if "lacking" in out else None,
    untaken=lacking,
)
law = resumption.law


@law(
    "Two optimizers of which one loaded the other's state have no memory in common: stepping one leaves the other.",
    source="Optimizer.load_state_dict: a deep copy, cast to the parameter's device",
    obliges={"carried=handed", "carried=copied", "carried=filed"},
)
def loaded_state_is_apart(case: Resumption, out: Outcome) -> Finding:
    return every(
        same(out.shared, 0),
        is_true(out.giver_left, "stepping the one who loaded changed the one who gave"),
    )


@law(
    "Reading the state of an optimizer changes nothing: not its state, options or gradients, not what training goes on to "
    "do; and no step is taken.",
    source="Optimizer.state_dict: returns the state; torch.distributed.checkpoint.state_dict.get_optimizer_state_dict",
    obliges={"route=plain", "route=named", "route=flat", "route=whole", "fresh", "graded", "frozen_one", "scaled"},
)
def reading_a_state_changes_nothing(case: Resumption, out: Outcome) -> Finding:
    return every(
        is_true(out.read_kept, "reading the state changed the state, an option or a gradient"),
        same(out.hook_calls, 0),
        identical(out.read_on, out.straight),
        unwritten(out),
    )


@law(
    "An optimizer that loaded a state steps, bit for bit, as the one that gave it would have, and keeps the same state.",
    source="Optimizer.load_state_dict; torch.distributed.checkpoint.state_dict.set_optimizer_state_dict",
    obliges={"route=plain", "route=named", "route=flat", "route=whole", "frozen_state", "lacking", "warm", "scaled"}
    | {"turned", "changes_path", "boxed", "groups=two_groups", "groups=empty_last"},
)
def resumed_steps_go_on(case: Resumption, out: Outcome) -> Finding:
    return every(
        identical(out.resumed, out.straight),
        same(out.resumed_kinds, out.straight_kinds),
        identical(out.resumed_state, out.straight_state),
        same(out.scales, [4.0 * 2.0 ** (case.steps + 2)] * 3 if case.scaled else []),
    )


@law(
    "What is loaded is what was saved: each parameter's state, frozen or not, and all options of its group; and what is "
    "loaded stays as it is.",
    source="Optimizer.load_state_dict",
    obliges={"frozen_state", "groups=two_groups", "turned", "changes_path", "boxed", "warm"},
)
def loaded_is_what_was_saved(case: Resumption, out: Outcome) -> Finding:
    return every(
        same(out.loaded_kinds, out.saved_kinds),
        identical(out.loaded_state, out.saved_state),
        same(out.strays, 0),
        is_true(out.given_kept, "loading changed the state that was given"),
    )


@law(
    "An optimizer's state has one place for the tied weight, under the first of its names, a model's all of them; a "
    "parameter has a state once it had a gradient, and each the rate of its group.",
    source="Optimizer.state_dict: indices in the order of the groups; canonical names are those of named_parameters()",
    obliges={
        "route=plain",
        "route=named",
        "route=flat",
        "several_names",
        "groups=two_groups",
        "groups=alone",
        "with_empty",
    },
)
def states_name_each_once(case: Resumption, out: Outcome) -> Finding:
    # What is fresh has no state: that reading it by name makes one is another law's matter.
    names = case.names if case.by_name else (case.members.index(0), case.members.index(1) if 1 in case.members else 1)
    entries = sorted(names[m] for m in case.entries)
    groups: list[Any] = [[names[m] for m in group] for group in GROUPS[case.groups]]
    if case.route == "flat":
        groups = sorted(each for group in groups for each in group)
    return every(
        same(out.state_names, entries) if not case.blank else UNASKED,
        same(out.group_names, groups),
        same(out.model_names, [*NAMES[case.tie], "side.weight"]),
        same(out.rates, {names[m]: case.rate(m) for m in case.members}),
    )


@law(
    "Without frozen parameters a model's state has none of their names, and all the others.",
    source="torch.distributed.checkpoint.state_dict.StateDictOptions: ignore_frozen_params",
    when=lambda case: case.by_name and case.frozen != "none",
    obliges={"frozen=side", "several_names"},
)
def frozen_names_are_left_out(case: Resumption, out: Outcome) -> Finding:
    frozen = FROZEN[case.frozen]
    names = [*(NAMES[case.tie] if 0 not in frozen else ()), *(("side.weight",) if 1 not in frozen else ())]
    return same(out.trained_names, names)


test_scope, test_product, test_random = resumption.tests()
