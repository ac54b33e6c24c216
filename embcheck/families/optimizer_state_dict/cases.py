"""A training that is resumed: how far an optimizer is, how its state is read, carried and loaded; and the program."""

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

from embcheck.core.axes import Axes, Input, values_of
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space
from embcheck.families.optimizer_state_dict.programs import CARRIES, ROUTES, resume
from embcheck.families.tied_training.data import whole
from embcheck.families.tied_training.optimizers import KINDS
from embcheck.families.tied_training.training_steps import TIES

#: The names of the tied weight in each tie, in the order in which the model lists them.
NAMES: dict[str, tuple[str, ...]] = {
    "head_takes_embedding": ("embedding.weight", "head.weight"),
    "embedding_takes_head": ("head.weight", "embedding.weight"),
    "three_way": ("source.weight", "target.weight", "head.weight"),
}
#: The groups of members; 0 is the tied weight, 1 the other one.
GROUPS: dict[str, tuple[tuple[int, ...], ...]] = {"pair": ((0, 1),), "alone": ((0,),), "two_groups": ((1,), (0,))}
#: Members that are frozen while the state is read and loaded; those that had no gradient before.
FROZEN = {"none": (), "tied": (0,), "side": (1,)}
#: The rates of groups.
RATES = (0.5, 0.125)
#: Flags with which an optimizer keeps more than it must.
RICH: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.5, "dampening": 0.5},
    "Adam": {"amsgrad": True, "betas": (0.5, 0.75)},
    "AdamW": {"amsgrad": True, "betas": (0.5, 0.75)},
    "Adagrad": {"lr_decay": 0.5, "initial_accumulator_value": 0.25},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "NAdam": {"weight_decay": 0.25, "momentum_decay": 0.5},
    "RAdam": {"weight_decay": 0.25, "betas": (0.5, 0.75)},
    "Adamax": {"betas": (0.5, 0.75)},
    "Adadelta": {"rho": 0.5, "weight_decay": 0.25},
    "ASGD": {"t0": 1, "lambd": 0.25},
    "Rprop": {"etas": (0.25, 1.5)},
    "Adafactor": {"beta2_decay": -0.5, "weight_decay": 0.25},
    "Muon": {"momentum": 0.5, "nesterov": False},
}
#: Optimizers that differ in what they keep, and when they begin to; the others are in the scope.
SEVERAL = ("Adam", "SGD", "Adagrad", "RMSprop", "NAdam", "ASGD", "Rprop")

#: Optimizers that have had all their options since they exist: no state of theirs lacks one.
COMPLETE = frozenset({"Adafactor", "Muon"})


class OptimizerStateDictCase(Axes):
    """An optimizer of a tied model and another matrix, whose state another optimizer goes on with."""

    optimizer: Annotated[str, SEVERAL] = "Adam"
    route: Annotated[str, tuple(ROUTES)] = "plain"
    #: how a state goes from one to the other
    carried: Annotated[str, ("copied", "filed", "handed", "older")] = "copied"
    #: steps before the state is read; two come after
    steps: Annotated[int, (1, 0, 2)] = 1
    tie: Annotated[str, tuple(NAMES)] = "head_takes_embedding"
    groups: Annotated[str, tuple(GROUPS)] = "pair"
    frozen: Annotated[str, tuple(FROZEN)] = "none"
    #: whose first gradient comes after the state was read
    idle: Annotated[str, tuple(FROZEN)] = "none"
    #: whether there are gradients while the state is read
    graded: Annotated[bool, (False, True)] = False
    #: whether the one who loads has taken a step before
    warm: Annotated[bool, (False, True)] = False
    #: whether the one who loads lists its parameters and groups in another order
    turned: Annotated[bool, (False, True)] = False
    rich: Annotated[bool, (True, False)] = True
    #: foreach or fused
    path: Annotated[str, ("", "foreach", "fused")] = ""
    seed: int = 0

    @property
    def by_name(self) -> bool:
        """Whether parameters are told apart by their names, as torch.distributed.checkpoint does, not by their places."""
        return self.route == "named"

    @cached_property
    def members(self) -> tuple[int, ...]:
        """The members that the optimizer has, in the order of its groups."""
        return sum(GROUPS[self.groups], ())

    @cached_property
    def names(self) -> tuple[str, str]:
        """The members' names; the tied weight's is its first one."""
        return NAMES[self.tie][0], "side.weight"

    @property
    def flags(self) -> dict[str, Any]:
        """What the giver is built with beside the rates; the one who loads has its options from the state."""
        return (RICH[self.optimizer] if self.rich else {}) | ({self.path: True} if self.path else {})

    @property
    def keeps(self) -> bool:
        """Whether the optimizer has any state after a step."""
        return self.optimizer != "SGD" or self.rich

    def stateful(self, member: int) -> bool:
        """Whether the giver has a state of a member when it is read: once it had a gradient; of Adagrad at once."""
        if member not in self.members or not self.keeps:
            return False
        return self.optimizer == "Adagrad" or (self.steps > 0 and member not in FROZEN[self.idle])

    @cached_property
    def entries(self) -> tuple[int, ...]:
        """The members of which the giver has a state."""
        return tuple(m for m in sorted(self.members) if self.stateful(m))

    @property
    def blank(self) -> bool:
        """Whether there is neither a state nor a gradient, so that reading by name takes a step."""
        return self.by_name and not self.graded and not self.entries

    @property
    def lacking(self) -> bool:
        """Whether a parameter that requires grad has no state, of which strict loading by name would complain."""
        frozen = FROZEN[self.frozen]
        return self.keeps and any(not self.stateful(m) and m not in frozen for m in self.members)

    @property
    def aside(self) -> bool:
        """Whether hooks are called, and states loaded, of which no case has values of its own."""
        return self.seed % 4 == 0

    def rate(self, member: int) -> float:
        """The learning rate of a member's group."""
        return next(rate for rate, members in zip(RATES, GROUPS[self.groups], strict=False) if member in members)

    def inputs(self) -> dict[str, Input]:
        """The tensors that are fed: small integers."""
        count = self.steps + 3
        shapes = {"weight": (3, 2), "side": (2, 2), "pulls": (count, 3, 2), "side_pulls": (count, 2, 2)}
        numbers = {word: whole(shape, 3, "resumption", word, self.seed % 8) for word, shape in shapes.items()}
        return {word: Input(FORMATS["float32"].encode(each), "float32") for word, each in numbers.items()}

    def facts(self) -> dict[str, Any]:
        frozen, blank = FROZEN[self.frozen], self.blank
        packed = bool(self.entries) or (blank and self.keeps)
        return {
            **self.axes,
            "by_name": self.by_name,
            "aside": self.aside,
            "keeps": self.keeps,
            "fresh": self.steps == 0,
            "blank": blank,
            "packed": packed,
            "handed_state": self.carried == "handed" and packed,
            "lacking": self.lacking and not blank,
            "several_groups": len(GROUPS[self.groups]) > 1,
            "frozen_state": any(m in self.entries for m in frozen),
            "frozen_one": bool(frozen),
            "several_names": len(NAMES[self.tie]) > 2,
        }


def plan(case: OptimizerStateDictCase) -> Plan:
    groups = tuple((names, {"lr": case.rate(names[0])}) for names in GROUPS[case.groups])
    turn = -1 if case.turned else 1
    others = tuple((names[::turn], {"lr": 8.0}) for names, _ in groups[::turn])
    options = {
        "tie": TIES[case.tie],
        "giver": (case.optimizer, case.flags, groups),
        "taker": (case.optimizer, {case.path: True} if case.path else {}, others),
        "steps": case.steps,
        "halted": (FROZEN[case.idle], FROZEN[case.frozen], case.graded),
        "warm": case.warm,
        "transfer": (*ROUTES[case.route], CARRIES[case.carried], case.carried != "handed"),
        "aside": case.aside,
        "asked": {"strict": not case.lacking} if case.by_name else None,
    }
    return Plan(resume, case.inputs(), options)


_RULES: tuple[Rule, ...] = (
    (lambda c: c.path not in KINDS[c.optimizer].flags, {"path": ""}),
    # A state without names goes by the places.
    (lambda c: not c.by_name or c.groups == "alone", {"turned": False}),
    (lambda c: c.carried == "older" and (c.by_name or c.optimizer in COMPLETE), {"carried": "copied"}),
    # A first gradient that comes late: see the ledger.
    (lambda c: c.optimizer == "SGD" and c.rich and c.path == "fused" and c.idle != "none", {"path": ""}),
    (lambda c: c.groups == "alone" and c.frozen != "none", {"frozen": "tied"}),
    (lambda c: c.groups == "alone" or c.steps == 0 or (c.by_name and c.frozen != "none"), {"idle": "none"}),
    (lambda c: c.by_name and c.frozen != "none" and c.steps == 0, {"steps": 1}),
)


def repair(case: OptimizerStateDictCase) -> OptimizerStateDictCase:
    """The case with flags that the optimizer has, members that its groups have, and at most one of what loading by name gets
    wrong, lest one hides another."""
    return fitted(case, _RULES)


def fixed_cases() -> Iterator[OptimizerStateDictCase]:
    """One case of everything that a law must have met."""
    for route in ROUTES:
        yield OptimizerStateDictCase(route=route, steps=0, graded=True, carried="filed")
        yield OptimizerStateDictCase("AdamW", route, path="fused", warm=True)
        yield OptimizerStateDictCase("SGD", route, rich=False, graded=True, frozen="side", tie="three_way")
        yield OptimizerStateDictCase("SGD", route, groups="two_groups", path="foreach", turned=route == "named")
    yield OptimizerStateDictCase(steps=0)
    yield OptimizerStateDictCase(route="named", idle="side")
    yield OptimizerStateDictCase(frozen="side", groups="two_groups")
    yield OptimizerStateDictCase("Adagrad", carried="handed", groups="alone")


def scope() -> Iterator[OptimizerStateDictCase]:
    """Every optimizer on every route, fresh and not; some states that were converted to checkpoints and back."""
    for seed, (kind, route, steps) in enumerate(itertools.product(RICH, ROUTES, (2, 0))):
        yield repair(OptimizerStateDictCase(kind, route, steps=steps, warm=seed % 3 == 0, seed=seed))
    for kind in sorted(RICH.keys() - COMPLETE):
        yield repair(OptimizerStateDictCase(kind, carried="older"))
    for kind, route in itertools.product(("SGD", "Adam", "Adafactor"), ROUTES):
        yield OptimizerStateDictCase(kind, route, carried="converted", groups="two_groups")
    yield OptimizerStateDictCase("SGD", "named", rich=False, graded=True, carried="converted")


_FLAGS = ("groups", "route")
SPACE = Space(OptimizerStateDictCase, values_of(OptimizerStateDictCase), repair, scope, fixed_cases, _FLAGS, strength=2)
