"""Learning rates under a scheduler: the cases that there are, and the program that runs each."""

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np

from embcheck.core.axes import Axes, values_of
from embcheck.core.format import Floats
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.lr_scheduler import programs
from embcheck.families.lr_scheduler.oracle import COMBINED, SCHEDULERS, Scheduler

PLANS = tuple(SCHEDULERS)
#: Those whose formula may begin at any epoch: one scheduler, whose functions remember nothing.
FORMULAS = tuple(
    name
    for name in SCHEDULERS
    if not (name.startswith(("sequential", "chained", "plateau")) or name.endswith(("by_object", "by_halves")))
)
#: Those that may be made at a last epoch; one of no steps is not said to begin anywhere.
MADE_LATE = tuple(name for name in FORMULAS if not name.endswith("_of_none"))
#: Those that may be told any epoch; the others go from the rate before.
TOLD = tuple(name for name in FORMULAS if not name.startswith(("multiplied", "averaging")))
#: Those that need no more than the rates at first, and what OneCycleLR keeps beside them, to begin at an epoch, and those of them
#: that do where the rate is that of the epoch before; others, and these elsewhere, do not: see the ledger.
BEGUN = (
    *("step_two", "multi_step", "exponential", "constant", "linear", "polynomial", "cosine", "restarts"),
    *("by_function", "by_functions", "multiplied"),
    *(name for name, scheduler in SCHEDULERS.items() if scheduler.kind in ("CyclicLR", "OneCycleLR")),
)
BEGUN_LEVEL = (*BEGUN[:2], "constant")
#: How often the loop that OneCycleLR documents steps it.
TOTALS = {name: scheduler.total for name, scheduler in SCHEDULERS.items() if scheduler.total}
#: Those whose factors are exact.
DYADIC = (
    *("step_two", "multi_step", "constant", "by_functions", "multiplied", "step_each", "constant_of_none", "cyclic"),
    *("plateau", "plateau_of_largest", "by_object", "multiplied_by_object"),
    "function_and_by_object",
)
#: What else each group of either optimizer is given, and a schedule must leave.
_OF_ADAM: tuple[dict[str, Any], ...] = (
    {"eps": 2.0**-20}, {"weight_decay": 0.125, "eps": 2.0**-10, "amsgrad": True}, {"weight_decay": 0.25}
)  # fmt: skip
OTHERS: dict[str, tuple[dict[str, Any], ...]] = {
    "SGD": ({"weight_decay": 0.5}, {"weight_decay": 0.125, "dampening": 0.25}, {"maximize": True}),
    "AdamW": _OF_ADAM,
    "Adam": _OF_ADAM,
}
#: The second coefficient of Adam and AdamW in each group.
SECOND_BETAS = (0.875, 0.75, 0.5)

#: Rates of one, two and three groups that no narrower format holds, and some whose steps are exact.
_ROUNDED, _EXACT = ((0.3,), (0.1, 0.7), (0.1, 0.7, 0.3)), ((1.0,), (0.25, 2.0), (0.5, 1.0, 0.25))
RATES = (
    (1.0,),
    (1.0, 0.25),
    (0.25, 2.0),
    (0.5, 0.5),
    (0.0, 0.25),
    (0.5, 1.0, 0.25),
    (0.3,),
    (0.1, 0.7, 0.3),
    (0.1, 0.7),
)


class LRSchedulerCase(Axes):
    """The learning rates of one, two or three groups over some epochs."""

    plan: Annotated[str, PLANS] = "step_two"
    rates: Annotated[tuple[float, ...], RATES] = (1.0,)
    momentum: Annotated[float, (0.5, 0.75)] = 0.5
    steps: Annotated[int, (8, 1, 2, 5, 17)] = 8
    #: the epoch before which optimizer and scheduler are made anew from their states; 0 for never
    resumed: Annotated[int, (0, 1, 3, 4)] = 0
    #: the rates are tensors
    tensor: Annotated[bool, (False, True)] = False
    #: whose momentum is that of SGD, or the first of its betas
    optimizer: Annotated[str, tuple(OTHERS)] = "SGD"
    #: how the scheduler is made anew: it loads its "state", or is given "last_epoch"
    again: Annotated[str, ("state", "last_epoch")] = "state"
    #: the epoch to which the first step goes, as it is told; 0 for the next
    ahead: Annotated[int, (0, 3, 13, 40, 121, 2)] = 0
    seed: int = 0
    #: how many schedulers of other optimizers are made before
    before: Annotated[int, (0, 1, 3)] = 0
    #: the epoch at which it begins, at the rates of that epoch, without a scheduler that came to it
    begun: Annotated[int, (0, 1, 2, 3, 9)] = 0

    @property
    def epochs(self) -> list[int]:
        """The epoch at first and after each step."""
        following = self.ahead or self.begun + 1
        return [self.begun, *range(following, following + self.steps)]

    @property
    def given(self) -> list[tuple[Any, ...]]:
        """What each step is given: the epoch that it is told, what was measured, or nothing."""
        if metrics := SCHEDULERS[self.plan].metrics:
            return [(metric,) for metric in metrics[: self.steps]]
        return [(self.ahead,) if self.ahead and not step else () for step in range(self.steps)]

    @property
    def beyond(self) -> bool:
        """Whether the last step is one beyond the last phase of a cycle, as in the loop that OneCycleLR documents."""
        return self.epochs[-1] == TOTALS.get(self.plan)

    @property
    def rows(self) -> slice:
        """The epochs for which there is one formula."""
        # At epoch 0 a warm-up of no steps is at its start as well as at its end.
        return slice(int(self.plan == "linear_of_none"), self.steps + (not self.beyond))

    @property
    def milestones(self) -> list[int]:
        """The epochs at which one scheduler of a sequence, or of one within another, follows the one before."""
        kind, arguments, *_ = SCHEDULERS[self.plan]
        while kind == "SequentialLR":
            if arguments[-1]:
                return list(arguments[-1])
            kind, arguments = arguments[0][:2]
        return []

    @property
    def due(self) -> Floats:
        """The rates at each epoch, shape (steps + 1, groups)."""
        rate = SCHEDULERS[self.plan].rate
        return np.array([[rate(base, e, g) for g, base in enumerate(self.rates)] for e in self.epochs])

    @property
    def momenta(self) -> Floats:
        """The momentum at each epoch, shape (steps + 1, groups)."""
        of = SCHEDULERS[self.plan].momentum
        return np.array([[of(self.momentum, e, g) for g in range(len(self.rates))] for e in self.epochs])

    @property
    def rounding(self) -> float:
        """What a handful of operations for each epoch, one epoch upon the other, may lose, as a share of the largest; nothing where
        all are products of small integers and powers of two."""
        if self.plan in DYADIC and all(math.frexp(rate)[0] in (0.0, 0.5) for rate in self.rates):
            return 0.0
        return 64.0 * (1 + self.epochs[-1]) * 2.0**-53

    @property
    def groups(self) -> list[dict[str, Any]]:
        """What each group is given beside its parameter."""
        scheduler, found = SCHEDULERS[self.plan], []
        for place, rate in enumerate(self.rates):
            group: dict[str, Any] = {"lr": rate, **OTHERS[self.optimizer][place]}
            if self.begun:
                group |= {"lr": float(self.due[0, place]), "initial_lr": scheduler.rate(rate, 0, place)}
                group |= scheduler.kept(place)
            if self.optimizer != "SGD":
                group["betas"] = (self.momentum, SECOND_BETAS[place])
            found.append(group)
        return found

    @property
    def combined(self) -> bool:
        """Whether there are other schedulers beside, which are judged where that plan is not loaded itself."""
        return self.plan in COMBINED and not (self.resumed or self.tensor)

    def facts(self) -> dict[str, Any]:
        """changes_there: the rate at the last epoch is another than in the epoch before; grown: the restarts' second cycle, a
        longer one, has lasted as long as the first."""
        due, made = self.due, self.resumed if self.again == "last_epoch" else 0
        grows = SCHEDULERS[self.plan].named.get("T_mult", 1) > 1
        return {
            **{name: value for name, value in self.axes.items() if name != "rates"},
            "two_groups": len(self.rates) > 1,
            "is_resumed": self.resumed > 0,
            "changes_there": bool(made and (due[made] != due[made - 1]).any()),
            "changes_later": bool(made and (due[made + 1 :] != due[made]).any()),
            "grown": bool(made and grows and made >= 2 * SCHEDULERS[self.plan].arguments[0]),
            "is_told": self.ahead > 0,
            "beyond": self.beyond,
            "combined": self.combined,
        }


def made_by(scheduler: Scheduler, groups: int, more: int = 0) -> tuple[Any, ...]:
    """What `programs.make` is given after the optimizer for a scheduler of so many groups, and so many ``more`` as the last."""

    def of_groups(value: Any) -> Any:
        return [*value[:groups], *value[groups - 1 : groups] * more] if isinstance(value, tuple) else value

    parts = scheduler.kind in ("SequentialLR", "ChainedScheduler")
    arguments = scheduler.arguments if parts else tuple(map(of_groups, scheduler.arguments))
    by = (programs.FUNCTIONS[scheduler.function],) if scheduler.function else ()
    return scheduler.kind, arguments, {name: of_groups(value) for name, value in scheduler.named.items()}, *by


def plan(case: LRSchedulerCase) -> Plan:
    options = {
        "recipe": made_by(SCHEDULERS[case.plan], len(case.rates)),
        "twice": made_by(SCHEDULERS[case.plan], len(case.rates), 1),
        "kind": (case.optimizer, {"lr": 1.0} | ({"momentum": case.momentum} if case.optimizer == "SGD" else {})),
        "resume": programs.from_state if case.again == "state" else programs.from_last_epoch,
        **{name: getattr(case, name) for name in ("groups", "tensor", "resumed", "before", "begun", "given")},
    }
    if case.combined:
        return Plan(programs.beside, {}, {"combined": programs.COMBINED[case.plan], **options})
    return Plan(programs.scheduled, {}, options)


def repair(case: LRSchedulerCase) -> LRSchedulerCase:
    told = case.plan in TOLD
    ahead = 0 if not told or (case.plan in TOTALS and case.ahead > 5) else case.ahead
    steps = min(case.steps, TOTALS[case.plan] - max(ahead - 1, 0)) if case.plan in TOTALS else case.steps
    resumed = case.resumed if case.resumed < steps else 0
    made_late = resumed and case.plan in MADE_LATE and not ahead
    again = case.again if made_late else "state"
    begun = 0 if resumed or ahead or case.plan not in BEGUN else case.begun
    rate = SCHEDULERS[case.plan].rate
    if begun and case.plan in TOTALS:
        steps = min(steps, TOTALS[case.plan] - begun)
    if begun and case.plan in BEGUN_LEVEL and rate(1.0, begun, 0) != rate(1.0, begun - 1, 0):
        begun = 0
    return case.but(steps=steps, resumed=resumed, ahead=ahead, again=again, begun=begun)


AXES = values_of(LRSchedulerCase)


def scope() -> Iterator[LRSchedulerCase]:
    """Every scheduler, with one group and two, of rates that differ or not, resumed at any epoch or not."""
    for name, (seed, rates), resumed in itertools.product(PLANS, enumerate(RATES), AXES["resumed"]):
        if seed < 3 or resumed in (0, 3):
            yield LRSchedulerCase(name, rates, steps=11, resumed=resumed)
    for name, rates, optimizer in itertools.product(PLANS, ((0.3,), (0.25, 2.0), (0.1, 0.7, 0.3)), AXES["optimizer"]):
        for steps, before in ((1, 3), (5, 1), (11, 0)):
            yield LRSchedulerCase(name, rates, steps=steps, optimizer=optimizer, before=before)
    for name, resumed, rates, tensor in itertools.product(
        MADE_LATE, AXES["resumed"], ((1.0,), (0.25, 2.0)), AXES["tensor"]
    ):
        yield LRSchedulerCase(name, rates, steps=11, resumed=resumed, again="last_epoch", tensor=tensor)
    # Early ones with any two of an optimizer, how many groups there are and how many schedulers were made before.
    for name, (turn, ahead) in itertools.product(TOLD, enumerate((2, 3, 13, 40, 121))):
        for seed, (place, optimizer) in itertools.product(range(3 if ahead < 4 else 1), enumerate(AXES["optimizer"])):
            before = AXES["before"][(place + turn + seed) % 3]
            rates = _ROUNDED[(place + turn + 2 * seed) % 3]
            yield LRSchedulerCase(name, rates, steps=5, ahead=ahead, optimizer=optimizer, before=before)
    for name, (turn, begun), (place, optimizer) in itertools.product(
        BEGUN, enumerate((1, 2, 3, 9)), enumerate(AXES["optimizer"])
    ):
        for seed, kind in enumerate((_ROUNDED, _EXACT)):
            rates = kind[(place + turn + seed) % 3]
            yield LRSchedulerCase(name, rates, steps=3, optimizer=optimizer, begun=begun)
    for name, rates, resumed in itertools.product(TOTALS, RATES[:3], (0, 3)):
        yield LRSchedulerCase(name, rates, steps=TOTALS[name], resumed=resumed)


SPACE = Space(LRSchedulerCase, AXES, repair, lambda: map(repair, scope()), flags=("plan", "tensor"), strength=2)
