"""Which cases of optimizer_state_dict there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.optimizer_state_dict.cases import BY_NAME, FROZEN, GROUPS, NAMES, OptimizerStateDictCase
from embcheck.families.optimizer_state_dict.programs import resume
from embcheck.families.optimizer_state_dict.state_dict_transfer import CARRIES, LOADS, SAVES
from embcheck.families.tied_training.optimizers import KINDS
from embcheck.families.tied_training.training_steps import TIES

#: Optimizers that take a learning rate as a tensor on every path that a case has then.
BOXED = ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "NAdam", "RAdam", "Adamax", "Adadelta", "ASGD", "Rprop")


def plan(case: OptimizerStateDictCase) -> Plan:
    flat = {"flatten_optimizer_state_dict": True} if case.route == "flat" else {}
    groups = tuple((names, {"lr": case.rate(names[0]) if names else 0.75}) for names in GROUPS[case.groups])
    turn = -1 if case.turned else 1
    others = tuple((names[::turn], {"lr": 8.0}) for names, _ in groups[::turn])
    options = {
        "tie": TIES[case.tie],
        "giver": (case.optimizer, case.flags, groups),
        "taker": (case.optimizer, case.own, others),
        "boxed": case.tensor_hyperparameters,
        "scaled": case.scaled,
        "steps": case.steps,
        "halted": (FROZEN[case.idle], FROZEN[case.frozen], case.graded),
        "warm": case.warm,
        "transfer": (SAVES[case.route], LOADS[case.route], CARRIES[case.carried], case.carried != "handed"),
        "asked": {"strict": not case.lacking, **flat} if case.by_name else None,
    }
    return Plan(resume, case.inputs(), options)


def repair(case: OptimizerStateDictCase) -> OptimizerStateDictCase:
    """The case with flags that the optimizer has, and members that its groups have."""
    changes: dict[str, Any] = {}
    known = KINDS[case.optimizer].flags
    changes["path"] = case.path if case.path in known and not case.tensor_hyperparameters else ""
    changes["loader"] = case.loader if case.loader in known else ""
    if case.tensor_hyperparameters and case.optimizer not in BOXED:
        changes["tensor_hyperparameters"] = False
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


def one_trouble(case: OptimizerStateDictCase) -> OptimizerStateDictCase:
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
    "tensor_hyperparameters": (False, True),
}


def fixed_cases() -> Iterator[OptimizerStateDictCase]:
    """One case of everything that a law must have met."""
    for route in SAVES:
        yield OptimizerStateDictCase(route=route, steps=0, graded=True, carried="filed")
        yield OptimizerStateDictCase("AdamW", route, scaled=True, path="fused", loader="fused", warm=True)
        yield OptimizerStateDictCase("SGD", route, rich=False, graded=True, frozen="side", tie="three_way")
        yield OptimizerStateDictCase("SGD", route, groups="two_groups", path="foreach", turned=route in BY_NAME)
    yield OptimizerStateDictCase(steps=0)
    yield OptimizerStateDictCase(route="named", idle="side")
    yield OptimizerStateDictCase(frozen="side", groups="two_groups")
    yield OptimizerStateDictCase("Adagrad", carried="handed", tensor_hyperparameters=True, groups="alone")
    yield OptimizerStateDictCase(groups="empty_last", tie="same_module_twice")


def scope() -> Iterator[OptimizerStateDictCase]:
    """Every optimizer on every route, fresh and not; some states that were converted to checkpoints and back."""
    for seed, (kind, route, steps) in enumerate(itertools.product(KINDS, SAVES, (2, 0))):
        yield repair(OptimizerStateDictCase(kind, route, steps=steps, warm=seed % 3 == 0, seed=seed))
    for kind, route in itertools.product(("SGD", "Adam", "Adafactor"), ("plain", "named", "flat")):
        yield OptimizerStateDictCase(kind, route, carried="converted", groups="two_groups")
    yield OptimizerStateDictCase("LBFGS", "whole", carried="converted", warm=True)
    yield OptimizerStateDictCase(steps=0, carried="converted")
    yield OptimizerStateDictCase("SGD", "named", rich=False, graded=True, carried="converted")


def draw(draws: stream.Stream) -> OptimizerStateDictCase:
    """A random case: each axis at another value half of the time."""
    chosen = {each: draws.choice(values) if draws.chance(2) else values[0] for each, values in AXES.items()}
    chosen |= {"optimizer": draws.choice(tuple(KINDS)), "route": draws.choice(tuple(SAVES))}
    return repair(OptimizerStateDictCase(**chosen, seed=draws.between(0, 255)))


SPACE = Space(
    OptimizerStateDictCase, AXES, repair, scope, fixed_cases, flags=("groups", "route"), draw=draw, strength=2
)
