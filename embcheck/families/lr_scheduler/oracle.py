"""Closed forms of learning-rate schedules: the rate and the momentum at an epoch; knows no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _linear(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _restarted(base: float, epoch: float, first: int, times: int, least: float) -> float:
    length = first
    while epoch >= length:
        epoch -= length
        length *= times
    return _cosine(base, least, epoch / length)


class Cycle(NamedTuple):
    """CyclicLR: its bounds, its steps up and down, and by what its height shrinks (cycle from 1, epoch)."""

    low: float
    high: float
    up: int
    down: int
    shrink: Callable[[int, int], float]

    def at(self, epoch: int, low: float, high: float) -> float:
        """The value between ``low`` and ``high``."""
        total = self.up + self.down
        cycle, place = epoch // total + 1, epoch % total
        height = place / self.up if place <= self.up else (total - place) / self.down
        return low + (high - low) * height * self.shrink(cycle, epoch)


CYCLES = {
    "cyclic": Cycle(0.5, 1.5, 2, 2, lambda cycle, epoch: 1.0),
    "cyclic_halved": Cycle(0.5, 1.5, 1, 3, lambda cycle, epoch: 0.5 ** (cycle - 1)),
    "cyclic_range": Cycle(0.0, 1.0, 3, 1, lambda cycle, epoch: 0.75**epoch),
    "cyclic_function": Cycle(0.25, 1.25, 2, 2, lambda cycle, epoch: 1 / cycle),
    "cyclic_each": Cycle(0.5, 1.5, 1, 1, lambda cycle, epoch: 1.0),
    "cyclic_sawtooth": Cycle(0.5, 1.5, 3, 0, lambda cycle, epoch: 1.0),
    "cyclic_table": Cycle(0.25, 1.25, 2, 2, lambda cycle, epoch: 1 / (1 + cycle)),
    "cyclic_range_momentum": Cycle(0.5, 1.5, 1, 2, lambda cycle, epoch: 0.75**epoch),
    "cyclic_function_momentum": Cycle(0.25, 1.25, 2, 1, lambda cycle, epoch: 1 / (1 + epoch)),
}
#: OneCycleLR: the ends of its phases, the rates between them, the momenta between them (None: left), and how it anneals.
ONE_CYCLES: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...] | None, Any]] = {
    "one_cycle": ((0, 2, 11), (0.25, 1.0, 0.25 / 16), (0.75, 0.5, 0.75), _cosine),
    "one_cycle_linear": ((0, 5, 11), (0.08, 2.0, 0.08e-4), None, _linear),
    "one_cycle_three": ((0, 4.2, 8.4, 12), (0.5, 1.0, 0.5, 0.5 / 8), (0.95, 0.85, 0.95, 0.95), _linear),
    "one_cycle_of_one_step": ((0, 0, 9), (0.25, 1.0, 0.25 / 16), (0.75, 0.5, 0.75), _cosine),
    "one_cycle_three_of_one_step": ((0, 0, 0, 9), (0.5, 1.0, 0.5, 0.5 / 8), None, _linear),
    "one_cycle_climbing": ((0, 11), (0.25, 1.0), (0.75, 0.5), _linear),
    "one_cycle_level": ((0, 2.25, 4.5, 12), (0.5, 1.0, 0.5, 0.5), (0.75, 0.5, 0.75, 0.75), _linear),
}
#: How often the loop that OneCycleLR documents steps it: total_steps.
TOTALS = {**{name: int(cycle[0][-1]) + 1 for name, cycle in ONE_CYCLES.items()}, "one_cycle_of_groups": 12}


def phase(ends: tuple[float, ...], values: tuple[float, ...], anneal: Any, epoch: int) -> float:
    """The value at an epoch between the ends of phases; after the last one it stays."""
    for k in range(1, len(ends)):
        if epoch < ends[k]:
            return float(anneal(values[k - 1], values[k], (epoch - ends[k - 1]) / (ends[k] - ends[k - 1])))
    return values[-1]


def _of_groups(epoch: int, values: tuple[float, ...]) -> float:
    return phase(ONE_CYCLES["one_cycle"][0], values, _cosine, epoch)


#: Warm restarts whose cycles grow: the first cycle, and by what each is longer than the one before.
RESTARTS = {"restarts_longer": (2, 2), "restarts_thrice": (1, 3)}
#: The rate at an epoch: (base rate, epoch, group) -> rate.
CLOSED: dict[str, Callable[[float, int, int], float]] = {
    "step_two": lambda base, e, g: base * 0.5 ** (e // 2),
    "step_default": lambda base, e, g: base * 0.1 ** (e // 3),
    "multi_step": lambda base, e, g: base * 0.25 ** ((e >= 1) + (e >= 4)),
    "multi_step_repeated": lambda base, e, g: base * 0.5 ** (2 * (e >= 2) + (e >= 5)),
    "exponential": lambda base, e, g: base * 0.75**e,
    "constant": lambda base, e, g: base * (0.25 if e < 3 else 1.0),
    "linear": lambda base, e, g: base * (0.25 + 0.75 * min(e, 3) / 3),
    "linear_down": lambda base, e, g: base * (1 - min(e, 4) / 4),
    "polynomial": lambda base, e, g: base * (1 - min(e, 5) / 5) ** 2,
    "polynomial_root": lambda base, e, g: base * math.sqrt(1 - min(e, 6) / 6),
    "cosine": lambda base, e, g: _cosine(base, 0.125, e / 4),
    "restarts": lambda base, e, g: _restarted(base, e, 3, 1, 0.125),
    "restarts_by_halves": lambda base, e, g: _restarted(base, e / 2, 3, 1, 0.125),
    "restarts_longer": lambda base, e, g: _restarted(base, e, *RESTARTS["restarts_longer"], 0.0),
    "by_function": lambda base, e, g: base / (1 + e),
    "by_functions": lambda base, e, g: base * (0.5**e if g == 0 else 1.0 + e),
    "multiplied": lambda base, e, g: base * (0.5**e if g == 0 else math.prod(1.0 + k for k in range(1, e + 1))),
    "sequential": lambda base, e, g: base * (0.5 if e < 2 else 0.5 ** (e - 2) if e < 5 else 0.25 ** (e - 5)),
    "chained": lambda base, e, g: base * (0.5 if e < 2 else 1.0) * 0.75**e,
    "averaging": lambda base, e, g: _linear(base, 0.125, min(e / 4, 1.0)),
    "averaging_cosine": lambda base, e, g: _cosine(base, 2.0, min(e / 3, 1.0)),
    **{name: lambda base, e, g, c=cycle: c.at(e, c.low, c.high) for name, cycle in CYCLES.items()},  # type: ignore[misc]
    **{name: lambda base, e, g, o=one: phase(o[0], o[1], o[3], e) for name, one in ONE_CYCLES.items()},  # type: ignore[misc]
    "cyclic_of_groups": lambda base, e, g: CYCLES["cyclic"].at(e, *((0.5, 1.5), (0.25, 2.0))[g]),
    "one_cycle_of_groups": lambda base, e, g: _of_groups(e, ((0.25, 1.0, 0.25 / 16), (0.125, 0.5, 0.125 / 16))[g]),
    # The shortest that each can be.
    "step_each": lambda base, e, g: base * 0.5**e,
    "constant_once": lambda base, e, g: base * (0.5 if e < 1 else 1.0),
    "linear_once": lambda base, e, g: base * (0.5 if e < 1 else 1.0),
    "polynomial_once": lambda base, e, g: base * (e < 1),
    "cosine_each": lambda base, e, g: _cosine(base, 0.125, e % 2),
    "restarts_each": lambda base, e, g: base,
    "averaging_once": lambda base, e, g: base if e < 1 else 0.125,
    "averaging_at_once": lambda base, e, g: 0.125,
    "averaging_at_once_linear": lambda base, e, g: 0.125,
    "sequential_each": lambda base, e, g: base * (0.5 if e < 1 else 0.5 ** (e - 1)),
    "chained_alone": lambda base, e, g: base * 0.75**e,
    # At the ends of what the arguments may be.
    "constant_of_none": lambda base, e, g: base,
    "linear_of_none": lambda base, e, g: base * 0.5,
    "constant_frozen": lambda base, e, g: base * (e >= 2),
    "multi_step_at_once": lambda base, e, g: base * (0.5 if e < 3 else 0.25),
    "multi_step_never": lambda base, e, g: base,
    "restarts_thrice": lambda base, e, g: _restarted(base, e, *RESTARTS["restarts_thrice"], 0.0),
    "sequential_without_warmup": lambda base, e, g: base * 0.5**e,
    "sequential_skipping": lambda base, e, g: base * (0.5 if e < 2 else 0.1 ** ((e - 2) // 2)),
    "sequential_cyclic": lambda base, e, g: base * 0.5 if e < 2 else CYCLES["cyclic"].at(e - 2, 0.5, 1.5),
    "by_table": lambda base, e, g: base / (1 + e),
    "by_method": lambda base, e, g: base / (1 + e),
    "by_partial": lambda base, e, g: base * 0.5**e,
    "multiplied_by_table": lambda base, e, g: base / math.factorial(e + 1),
    # One within another.
    "sequential_alone": lambda base, e, g: base * 0.75**e,
    "sequential_within": lambda base, e, g: base * (0.5 if e < 2 else 0.5 ** (e - 2) if e < 5 else 0.25 ** (e - 5)),
    "chained_within": lambda base, e, g: base * (0.5 if e < 2 else 1.0) * 0.75**e,
    "chained_sequential": lambda base, e, g: base * (0.5 if e < 2 else 0.5 ** (e - 2) if e < 5 else 0.25 ** (e - 5)),
    "sequential_then_chained": lambda base, e, g: base * (0.5 if e < 2 else 0.75 ** (e - 2)),
    # By an object that remembers, and a function for the second group.
    "by_objects": lambda base, e, g: base / max(e, 1) if g == 0 else base * (1.0 + e),
    "multiplied_by_objects": lambda base, e, g: base / math.factorial(e) if g == 0 else base * math.factorial(e + 1),
}  # fmt: skip
#: Schedulers that set the momentum, too: the first value is that of the first epoch.
CYCLING_MOMENTUM = {
    "cyclic_halved": (0.75, 0.25),
    "cyclic_range_momentum": (0.875, 0.25),
    "cyclic_function_momentum": (0.75, 0.25),
}
#: Those that set a momentum for each group: its value at an epoch, by group.
MOMENTA_OF_GROUPS: dict[str, Callable[[int, int], float]] = {
    "cyclic_of_groups": lambda e, g: CYCLES["cyclic"].at(e, *((0.75, 0.25), (0.875, 0.5))[g]),
    "one_cycle_of_groups": lambda e, g: _of_groups(e, ((0.75, 0.5, 0.75), (0.875, 0.25, 0.875))[g]),
}
