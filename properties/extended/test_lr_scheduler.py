"""Schedules: the learning rates of every scheduler are those of its closed form, resumed or not."""

from typing import Any

import numpy as np

from embcheck.core.comparison import every, is_true, same, within
from embcheck.core.law import Family
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import UNASKED, Absent, Finding
from embcheck.families.lr_scheduler.cases import AXES, MADE_LATE, PLANS, SPACE, LRSchedulerCase, plan
from embcheck.families.lr_scheduler.oracle import COMBINED

#: What sets the momentum, too, in cycles that all have the documented phases.
CYCLING_MOMENTUM = ("one_cycle", "one_cycle_three", "one_cycle_of_groups", "cyclic_halved", "cyclic_of_groups")


def lacking(case: LRSchedulerCase, out: Outcome) -> str | None:
    """A ChainedScheduler within a SequentialLR came with torch 2.6: pytorch#132745 asked for it; torch 2.2 has no get_last_lr of a
    ReduceLROnPlateau that has taken no step."""
    if isinstance(out.error, AttributeError):
        if "'ChainedScheduler' object has no attribute" in str(out.error):
            return Absent("this release's SequentialLR takes no ChainedScheduler")
        if "'ReduceLROnPlateau' object has no attribute" in str(out.error):
            return Absent("this release's ReduceLROnPlateau tells no rates before its first step")
    return None


lr_scheduler = Family("lr_scheduler", SPACE, plan, cost=6.0, not_applicable=lacking)
law = lr_scheduler.law


def near(case: LRSchedulerCase, got: Field, wanted: Any) -> Finding:
    """Up to the rounding of a handful of operations for each epoch, in double, one epoch upon the other."""
    return within(got, wanted, case.rounding * np.maximum(np.abs(wanted), 1.0).max(initial=1.0))


@law(
    "Each epoch's learning rate equals the scheduler's closed form, separately for each param group.",
    source="torch.optim.lr_scheduler; torch.optim.swa_utils.SWALR",
    must_cover={f"plan={name}" for name in PLANS}
    | {"two_groups", "is_resumed", "tensor", "plan=plateau_at_the_least & two_groups & steps>8"}
    | {"plan=sequential & resumed>2 & steps>4", "plan=sequential & tensor"}
    | {"plan=function_and_by_object & two_groups & is_resumed", "beyond", "plan=averaging_of_groups & two_groups"}
    | {f"plan={name} & tensor & steps>2" for name in ("cosine", "by_function")}
    | {f"ahead={epoch}" for epoch in AXES["ahead"]}
    | {f"plan={name} & combined" for name in COMBINED},
    when=lambda case: case.again == "state",
)
def lr_scheduler_follows_closed_form(case: LRSchedulerCase, out: Outcome) -> Finding:
    begun = near(case, out.begun, case.due[:1]) if case.resumed and case.plan in MADE_LATE else UNASKED
    ends = is_true(out.ends, "it goes on behind its last step")
    # Those of other optimizers begin alike, but where this one begins later.
    first = np.asarray(out.rates.values, np.float64)[:1]
    others = same(out.firsts, first.repeat(case.before, 0)) if case.before and not case.begun else UNASKED
    return every(near(case, out.rates[case.rows], case.due[case.rows]), begun, ends, others, *combined(case, out))


def combined(case: LRSchedulerCase, out: Outcome) -> list[Finding]:
    """The rates of schedulers that are put together, and those that the copied ones keep, up to the same rounding."""
    if not case.combined:
        return []
    due = np.array([[COMBINED[case.plan](base, e, g) for g, base in enumerate((1.0, 0.5))] for e in range(9)])
    return [within(got, wanted, 64 * 9 * 2.0**-53) for got, wanted in ((out.combined, due), (out.left, due[[4]]))]


@law(
    "A scheduler constructed with last_epoch keeps the loaded learning rate and continues the closed form.",
    source="torch.optim.lr_scheduler: last_epoch, the index of the last epoch, when restoring from a checkpoint",
    must_cover={f"plan={name}" for name in MADE_LATE} | {"two_groups", "tensor", "changes_there"},
    when=lambda case: case.again == "last_epoch",
)
def lr_scheduler_resumes_from_last_epoch(case: LRSchedulerCase, out: Outcome) -> Finding:
    return every(
        near(case, out.returned, case.due[[case.resumed]]), near(case, out.rates[case.rows], case.due[case.rows])
    )


@law(
    "OneCycleLR's last documented step keeps the learning rate and momentum of the end of the cycle.",
    source="torch.optim.lr_scheduler.OneCycleLR: total_steps; its example; final_div_factor determines the minimum learning rate",
    must_cover={"plan=one_cycle_level", "two_groups", "is_resumed"},
    when=lambda case: case.beyond,
)
def one_cycle_lr_last_step_keeps_final_values(case: LRSchedulerCase, out: Outcome) -> Finding:
    return every(near(case, out.rates[-1:], case.due[-1:]), near(case, out.momenta[-1:], case.momenta[-1:]))


@law(
    "Neither load_state_dict() nor later scheduler steps modify the loaded state_dict.",
    source="LRScheduler.load_state_dict; pytorch#32756",
    must_cover={f"plan={name}" for name in PLANS} | {"two_groups", "tensor"},
    when=lambda case: case.resumed and case.again == "state",
)
def lr_scheduler_does_not_modify_loaded_state_dict(case: LRSchedulerCase, out: Outcome) -> Finding:
    return same(out.stays, [True, True])


@law(
    "A scheduler's state_dict() has every attribute but the optimizer, as it is.",
    source="LRScheduler.state_dict: an entry for every variable in self.__dict__ which is not the optimizer",
    must_cover={f"plan={name}" for name in PLANS} | {"two_groups", "optimizer=AdamW"},
)
def scheduler_state_dict_has_every_attribute(case: LRSchedulerCase, out: Outcome) -> Finding:
    return same(out.forgotten, [[]] * (case.steps + 1))


@law(
    "Schedulers cycle momentum inversely to the learning rate with cycle_momentum=True, and otherwise leave it unchanged.",
    source="CyclicLR and OneCycleLR: cycle_momentum, base_momentum, max_momentum",
    must_cover={f"plan={name}" for name in CYCLING_MOMENTUM},
)
def lr_scheduler_cycles_momentum_as_documented(case: LRSchedulerCase, out: Outcome) -> Finding:
    return near(case, out.momenta[case.rows], case.momenta[case.rows])


@law(
    "Schedulers change no hyperparameter other than the learning rate and momentum.",
    source="torch.optim.lr_scheduler: schedulers adjust the learning rate; CyclicLR and OneCycleLR also momentum",
    must_cover={"optimizer=SGD", "two_groups", *(f"plan={name} & optimizer=AdamW" for name in CYCLING_MOMENTUM)},
)
def lr_scheduler_keeps_other_hyperparameters(case: LRSchedulerCase, out: Outcome) -> Finding:
    others = [
        {name: value[1:] if name == "betas" else value for name, value in group.items() if name != "lr"}
        for group in case.groups
    ]
    return same(out.others, [others] * (case.steps + 1))


@law(
    "A group's learning rates are the same, bit for bit, with another group beside it that is as the last.",
    source="torch.optim.lr_scheduler: the learning rate of each parameter group",
    when=lambda case: case.again == "state",
    must_cover={f"plan={name}" for name in PLANS} | {"two_groups", "tensor", "begun=9"},
)
def lr_scheduler_treats_groups_separately(case: LRSchedulerCase, out: Outcome) -> Finding:
    rates = np.asarray(out.rates.values, np.float64)
    return same(out.beside, np.concatenate([rates, rates[:, -1:]], axis=1))


@law("get_last_lr() returns the learning rates of the param groups.", source="LRScheduler.get_last_lr, last_epoch")
def get_last_lr_returns_param_group_learning_rates(case: LRSchedulerCase, out: Outcome) -> Finding:
    counted = not case.plan.startswith(("chained", "restarts_by"))
    return every(
        same(out.told, out.rates.require()),
        same(out.epochs, case.epochs) if counted else UNASKED,
        same(out.tensors, [case.tensor] * len(case.rates)),
    )


test_scope, test_product, test_random = lr_scheduler.tests()
