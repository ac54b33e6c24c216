"""What optimizers and schedulers are known to do instead: by the training cases' own formulas."""

import re
from typing import Any

import numpy as np

from embcheck.core.format import FORMATS, Floats
from embcheck.core.result import Difference, Elements
from embcheck.core.wrong_results.judgement import instead, of_elements
from embcheck.core.wrong_results.numbers import decoded

#: Of float16: what is smaller has a square that vanishes beside a share of a thousandth (2^-7 squared and by 1 − β₂).
_VANISHES = 2.0**-7


@of_elements
def never_stepped(case: Any, seen: Elements) -> Any:
    """Weights or biases, a row for each step, stay as they were given; one of several parameters as the step before left it."""
    if _member(seen) >= 0:
        before = np.concatenate([case.weight(_member(seen))[None], seen.got[:-1]])
        return (seen.got == before)[seen.differ].all()
    given = case.data.weight if seen.got.ndim == 3 else case.data.bias
    return (seen.got == given)[seen.differ].all()


@of_elements
def no_number_without_a_gradient(case: Any, seen: Elements) -> Any:
    """NaN stands where the gradient of this step, or of one before, is zero, or so small that its square is.

    If steps are to be differentiated, it does from the first rate of zero on.
    """
    if not np.isnan(seen.got[seen.differ]).all():
        return False
    member = _member(seen)
    if member >= 0:
        decay = case.options(member)["weight_decay"]
        return _only_idle(seen, case.weight(member), case.gradient(member), decay)
    reached = np.logical_or.accumulate([rate == 0 or not case.flags.get("differentiable") for rate in case.rates])
    if seen.differ[~reached].any():
        return False
    if seen.got.shape[1:] not in (case.shape, case.shape[:1]):  # rows that never had a gradient
        return True
    start, sent = case.data.bias, case.gradients[1]
    if seen.got.ndim == 3:
        start, sent = case.data.weight, np.stack([due.value for due in case.due])
    return _only_idle(seen, start, sent, float(case.flags.get("weight_decay") or 0.0))


def _only_idle(seen: Elements, start: Floats, sent: Floats, decay: float) -> bool:
    """Whether only those differ of which the gradient, with weight decay or without, is about zero, in this step or before."""
    decayed = decay * np.concatenate([start[None], seen.expected[:-1]])
    idle = np.minimum(np.abs(sent), np.minimum(np.abs(sent + decayed), np.abs(sent - decayed))) < _VANISHES
    return not (seen.differ & ~np.logical_or.accumulate(idle, axis=0)).any()


@instead
def other_steps(case: Any, found: Difference) -> bool:
    """Steps from another state, or at other rates, and what is kept of them: there is a formula for each optimizer, and no
    short one."""
    return True


@of_elements
def no_root_of_a_lost_variance(case: Any, seen: Elements) -> Any:
    """NaN where centered RMSprop's variance is no larger than its rounding errors, from there on."""
    lost = ~np.isfinite(case.expected_weights[1])
    return (lost & np.isnan(seen.got))[seen.differ].all()


@of_elements
def gradients_with_momentum(case: Any, seen: Elements) -> Any:
    """Each step of Nesterov's adds momentum times its buffer to the gradient, to which the next backward adds."""
    momentum, unit = float(case.flags["momentum"]), case.format.unit_roundoff
    gradient, buffer = np.zeros(case.shape), np.zeros(case.shape)
    size, before = np.zeros(case.shape), np.zeros(case.shape)
    for got, due in zip(seen.got, seen.expected, strict=True):
        gradient, size, before = gradient + (due - before), size + np.abs(due - before), due
        if (np.abs(got - gradient) > 8 * len(seen.got) * unit * size).any():
            return False
        buffer = momentum * buffer + gradient
        gradient, size = gradient + momentum * buffer, size * (1 + momentum) + momentum * np.abs(buffer)
    return True


def _member(seen: Elements) -> int:
    """Which of several parameters an observation is of: its name ends in the number."""
    found = re.search(r'(\d+)"\]', seen.place)
    return int(found[1]) if found else -1


@of_elements
def the_accumulator_of_the_constructor(case: Any, seen: Elements) -> Any:
    """A parameter steps as it would without its group's own initial_accumulator_value."""
    common = tuple(pair for pair in case.own if pair[0] != "initial_accumulator_value")
    values, bounds = case.but(own=common).due(_member(seen))
    return (np.abs(seen.got - values) <= 2 * bounds).all()


@of_elements
def steps_of_an_average(case: Any, seen: Elements) -> Any:
    """The buffer averages the gradients: it is the documented sum of 1 − momentum times each."""
    values, bounds = case.due_of_an_average(_member(seen))
    return (np.abs(seen.got - values) <= bounds).all()


@of_elements
def stepped_as_flat_memory(case: Any, seen: Elements) -> Any:
    """The place of each element in memory is stepped with the gradient that lies in the same one, as far as there are elements."""
    values, bounds = case.due_of_flat_memory(_member(seen))
    return ((np.abs(seen.got - values) <= bounds) | (np.isnan(seen.got) & np.isnan(values))).all()


@of_elements
def of_another_dtype_than_the_first(case: Any, seen: Elements) -> Any:
    """A parameter steps with what suits the dtype of the first one in its group that has a gradient, which is another.

    foreach steps one dtype after another, in an order of its own: there any other may be the first.
    """
    group = next(members for members, _ in case.groups if _member(seen) in members)
    given = [[m for m in group if has[m]] for has in case.given]
    foreach = case.path == "foreach" or case.interrupt == "path" or dict(case.flags).get("foreach")
    first = group if foreach else {members[0] for members in given if members}
    return any(case.members[_member(seen)].dtype != case.members[each].dtype for each in first)


@of_elements
def of_a_complex_one(case: Any, seen: Elements) -> Any:
    """A complex parameter, whose parts are the last axis, takes other steps."""
    return case.members[_member(seen)].dtype.startswith("complex")


@of_elements
def rates_of_eleven_bits(case: Any, seen: Elements) -> Any:
    """Each step is off by as much of itself as float16 rounds a rate, once or twice, and the sum is rounded on."""
    due = decoded(FORMATS["float64" if seen.expected.itemsize == 8 else "float32"], seen)
    moves = np.cumsum(np.abs(np.diff(due, axis=0, prepend=case.weight(_member(seen))[None])), axis=0)
    off: Floats = 4 * 2.0**-11 * moves + 2.0**-21 * np.abs(due)
    return (np.abs(seen.got - due) <= off).all()


# -- schedulers ----------------------------------------------------------------------------------------------------


def _near(case: Any, got: Floats, wanted: Floats) -> bool:
    """Whether rates are near as the law has it: to a share of the largest."""
    largest = max(np.abs(case.due).max(initial=0.0), np.abs(wanted).max(initial=0.0))
    return bool((np.abs(got - wanted) <= case.rounding * largest).all())


def _change(case: Any, epoch: int) -> Floats:
    """By what the rate of each group is multiplied at an epoch; a rate of zero stays."""
    now, before = case.due[epoch], case.due[epoch - 1]
    return np.asarray(now / np.where(before == 0, 1.0, before))


@of_elements
def an_epoch_early(case: Any, seen: Elements) -> Any:
    """Each rate that differs is that of the next epoch."""
    later = case.but(steps=case.steps + 1).due[1:][case.rows]
    return _near(case, seen.got[seen.differ], later[seen.differ])


@of_elements
def changed_at_once(case: Any, seen: Elements) -> Any:
    """Each rate is changed once more, as the first one is by the first step."""
    return _near(case, seen.got, seen.expected * _change(case, 1))


def _in_one_tensor(case: Any, resumed: int, early: int = 0) -> Floats:
    """The rates of a sequence for whose schedulers the rate itself is the one at first, until a state is loaded, from when on
    that is the one of then: of so many epochs ``early`` the factor at first is taken once more."""
    due, given = case.but(steps=case.steps + early).due, np.array(case.rates)
    safe = np.where(given == 0, 1.0, given)
    found, loaded = [due[0] * (due[0] / safe) ** early], resumed + early if resumed else len(due)
    for epoch in range(1, len(due)):
        begins = epoch in case.milestones
        before = found[min(loaded, epoch - 1)] if begins else found[-1]
        found.append(before * (due[epoch] / safe if begins else _change(case.but(steps=len(due)), epoch)))
    return np.array(found[early:])


def _goes_on(case: Any, seen: Elements, early: int) -> bool:
    """Whether rates are those of one tensor; beside another group those that no load changed."""
    beside = seen.got.shape[1] > len(case.rates)
    wanted = _in_one_tensor(case, 0 if beside else case.resumed, early)
    return _near(case, seen.got, np.concatenate([wanted, wanted[:, -1:]], axis=1) if beside else wanted[case.rows])


@of_elements
def as_the_last_rates(case: Any, seen: Elements) -> Any:
    """All rates that were told are those at last, of an optimizer that was made anew those when that was done."""
    rows = np.arange(len(seen.expected))
    last = np.where((rows <= case.resumed) & (case.resumed > 0), case.resumed, rows[-1])
    return np.array_equal(seen.got, seen.expected[last])


@of_elements
def phases_go_on(case: Any, seen: Elements) -> Any:
    """Each scheduler of a sequence begins at the rate that the one before left, not at the first one."""
    return _goes_on(case, seen, 0)


@of_elements
def phases_go_on_an_epoch_early(case: Any, seen: Elements) -> Any:
    """The same, of the next epoch, and changed once more as the first one is."""
    return _goes_on(case, seen, 1)


@of_elements
def without_the_first_factor(case: Any, seen: Elements) -> Any:
    """Only rates before the second scheduler of a sequence differ: they are those that the optimizer was given."""
    return not seen.differ[case.milestones[0] :].any() and _always(case, seen, 1.0)


def _always(case: Any, seen: Elements, share: float) -> bool:
    """Whether each rate that differs is such a share of the one that the optimizer was given."""
    rates = np.broadcast_to(share * np.array(case.rates), seen.got.shape)
    return _near(case, seen.got[seen.differ], rates[seen.differ])


@of_elements
def half_the_first_rate(case: Any, seen: Elements) -> Any:
    """The rate is half of the one that the optimizer was given, for ever."""
    return _always(case, seen, 0.5)


@of_elements
def a_quarter_of_the_first_rate(case: Any, seen: Elements) -> Any:
    """The rate is a quarter of the one that the optimizer was given, for ever."""
    return _always(case, seen, 0.25)


@of_elements
def a_phase_goes_on(case: Any, seen: Elements) -> Any:
    """One step beyond the end of a phase: on a line as far again, on a cosine as one step before the end."""
    past = case.momenta if "momenta" in seen.place else case.due
    one_less, end = past[-3:-1]
    return _near(case, seen.got[-1], 2 * end - one_less) or _near(case, seen.got[-1], one_less)


@of_elements
def changed_twice(case: Any, seen: Elements) -> Any:
    """From where it was made anew on, or for an epoch in the midst, the rate is changed once more as it is changed there."""
    change = _change(case.but(begun=0, steps=case.begun), case.begun) if case.begun else _change(case, case.resumed)
    return _near(case, seen.got[seen.differ], (seen.expected * change)[seen.differ])


@of_elements
def from_where_it_was_made_on(case: Any, seen: Elements) -> Any:
    """Rates are right up to the epoch before which the scheduler was made anew; what it gives there may be wrong."""
    return len(seen.got) == 1 or not seen.differ[: case.resumed - (case.rows.start or 0)].any()


# -- scalers -------------------------------------------------------------------------------------------------------


def _found(case: Any) -> tuple[int, ...]:
    """The steps whose gradients are seen to be infinite: at a scale of one the sum alone is."""
    found: tuple[int, ...] = case.bad
    while True:
        before = case.but(bad=found).scales[1]
        lost = next((step for step in found if step < case.steps and before[step] == 1.0), None)
        if lost is None:
            return found
        found = tuple(step for step in found if step != lost)


@of_elements
def from_the_first_that_is_not_found_on(case: Any, seen: Elements) -> Any:
    """Weights are right up to the first step that should have been left out and was not; SGD's are vast from there on."""
    vast = case.optimizer != "SGD" or (~(np.abs(seen.got[seen.differ]) < 2.0**100)).all()
    return vast and not seen.differ[: min(set(case.bad) - set(_found(case)))].any()


@of_elements
def numbers_of_what_is_found(case: Any, seen: Elements) -> Any:
    """Weights of the parameter beside are those of steps of which only such are left out as are seen to be infinite."""
    value, limit = case.others(_found(case))
    return (np.abs(seen.got - value) <= limit).all()


@instead
def scales_of_what_is_found(case: Any, found: Difference) -> bool:
    """The scale is reduced only after steps that are seen to be infinite."""
    return bool(found.got == case.but(bad=_found(case)).scales[0])
