"""Schedulers of torch.optim as a table: what each is made with, and its rate and momentum at an epoch.  Knows no torch."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

#: The rate or the momentum at an epoch: (that at first, epoch, group) -> value.
Rate = Callable[[float, int, int], float]


class Scheduler(NamedTuple):
    """A class of torch.optim.lr_scheduler or swa_utils, its arguments after the optimizer, and what is due.

    A tuple among the arguments has a value for each group.  ``function`` names what makes an argument that can be called;
    ``total`` is how often the loop that OneCycleLR documents steps it; ``metrics`` are what each step is given, which may be
    epochs.
    """

    kind: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    rate: Rate
    momentum: Rate = lambda base, e, g: base
    function: str = ""
    total: int = 0
    metrics: tuple[float, ...] = ()

    def kept(self, group: int) -> dict[str, float]:
        """What OneCycleLR writes into a group beside its rate and its momentum, and goes on with at a last epoch."""
        if self.kind != "OneCycleLR":
            return {}
        given = {"max_lr": self.arguments[0] if self.arguments else 0.0, "base_momentum": 0.85, "max_momentum": 0.95}
        given |= {name: value for name, value in self.named.items() if name in given}
        of_group = {name: value[group] if isinstance(value, tuple) else value for name, value in given.items()}
        return of_group | {"min_lr": self.rate(0.0, self.total - 1, group)}


def made(
    kind: str,
    rate: Rate,
    *arguments: Any,
    momentum: Rate = lambda base, e, g: base,
    by: str = "",
    total: int = 0,
    metrics: tuple[float, ...] = (),
    **named: Any,
) -> Scheduler:
    return Scheduler(kind, arguments, named, rate, momentum, by, total, metrics)


def part(kind: str, *arguments: Any, **named: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """A scheduler within another."""
    return kind, arguments, named


# -- closed forms --------------------------------------------------------------------------------------------------


def cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _linear(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _restarted(base: float, epoch: float, first: int, times: int, least: float = 0.0) -> float:
    length = first
    while epoch >= length:
        epoch -= length
        length *= times
    return cosine(base, least, epoch / length)


def _phased(ends: tuple[float, ...], anneal: Callable[..., float], *groups: tuple[float, ...]) -> Rate:
    """OneCycleLR: between the ends of phases from one value to the next; after the last one it stays.  The groups have values
    of their own, or all the same."""

    def at(base: float, e: int, g: int) -> float:
        values = groups[min(g, len(groups) - 1)]
        for k in range(1, len(ends)):
            if e < ends[k]:
                return anneal(values[k - 1], values[k], (e - ends[k - 1]) / (ends[k] - ends[k - 1]))
        return values[-1]

    return at


def _cycled(up: int, down: int, *groups: tuple[float, float], shrink: float = 1.0, decay: float = 1.0) -> Rate:
    """CyclicLR: so many steps up and down between two values, whose distance shrinks from cycle to cycle or decays from step to
    step.  The groups have values of their own, or all the same."""

    def at(base: float, e: int, g: int) -> float:
        cycle, place = divmod(e, up + down)
        low, high = groups[min(g, len(groups) - 1)]
        height = place / up if place <= up else (up + down - place) / down
        return low + (high - low) * height * shrink**cycle * decay**e

    return at


def _on_plateau(
    metrics: tuple[float, ...],
    better: Callable[[float, float], bool],
    factor: float,
    cooldown: int,
    least: tuple[float, ...] = (0.0,) * 3,
    eps: float = 0.0,
) -> Rate:
    """ReduceLROnPlateau with patience=1: the rate is reduced after two epochs without improvement, which are counted anew after an
    improvement and after a reduction, and not during the cooldown."""

    def at(base: float, e: int, g: int) -> float:
        rate, best, bad, cooling = base, metrics[0], 0, 0
        for metric in metrics[1:e]:
            best, bad = (metric, 0) if better(metric, best) else (best, bad + 1)
            cooling, bad = (cooling - 1, 0) if cooling else (0, bad)
            if bad > 1:
                reduced = max(rate * factor, least[g])
                rate, bad, cooling = (reduced if rate - reduced > eps else rate), 0, cooldown
        return rate

    return at


def _in_sequence(base: float, e: int, g: int) -> float:
    return base * (0.5 if e < 2 else _linear(0.25, 1.0, min((e - 2) / 2, 1.0)) if e < 5 else 0.25 ** (e - 5))


def _in_a_chain(base: float, e: int, g: int) -> float:
    return base * (0.5 if e < 2 else 1.0) * 0.75 ** (e // 2)


# -- the table -----------------------------------------------------------------------------------------------------

#: The ends of the phases of eleven steps, of which a quarter rise.
_QUARTER = (0, 2, 11)
_SEQUENCE = (part("ConstantLR", 0.5, 99), part("LinearLR", 0.25, 1.0, 2), part("StepLR", 1, 0.25), [2, 5])
#: What is measured after each epoch; an improvement by just the threshold is none.
_FALLING = (8.0, 6.0, 6.0, 5.0, 5.0, 5.0, 5.0, 3.75, 3.75, 3.0, 3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0)
_RISING = (1.0, 1.5, 3.0, 3.5, 4.0, 4.5, 4.5, 4.5, 6.0, 6.0, 6.0, 6.0, 9.0, 9.0, 9.0, 9.0, 9.0)
_CHAIN = (part("ConstantLR", 0.5, 2), part("StepLR", 2, 0.75))

SCHEDULERS: dict[str, Scheduler] = {
    "step_two": made("StepLR", lambda base, e, g: base * 0.5 ** (e // 2), step_size=2, gamma=0.5),
    "multi_step": made("MultiStepLR", lambda base, e, g: base * 0.25 ** ((e >= 1) + (e >= 4)), milestones=[1, 4], gamma=0.25),
    "exponential": made("ExponentialLR", lambda base, e, g: base * 0.75**e, 0.75),
    "constant": made("ConstantLR", lambda base, e, g: base * (0.25 if e < 3 else 1.0), factor=0.25, total_iters=3),
    "linear": made("LinearLR", lambda base, e, g: base * (0.25 + 0.75 * min(e, 3) / 3),
                    start_factor=0.25, total_iters=3),
    "polynomial": made("PolynomialLR", lambda base, e, g: base * (1 - min(e, 11) / 11) ** 2, total_iters=11, power=2.0),
    "cosine": made("CosineAnnealingLR", lambda base, e, g: cosine(base, 0.125, e / 4), T_max=4, eta_min=0.125),
    "restarts": made("CosineAnnealingWarmRestarts", lambda base, e, g: _restarted(base, e, 3, 1, 0.125), T_0=3, eta_min=0.125),
    "restarts_longer": made("CosineAnnealingWarmRestarts", lambda base, e, g: _restarted(base, e, 2, 2), 2, T_mult=2),
    "by_function": made("LambdaLR", lambda base, e, g: base / (1 + e), by="inverse"),
    "by_functions": made("LambdaLR", lambda base, e, g: base * (0.5**e if g == 0 else 1.0 + e), by="power_and_line"),
    "multiplied": made("MultiplicativeLR", lambda base, e, g: base * (0.5**e if g == 0 else math.factorial(e + 1)),
                        by="half_and_line"),
    "sequential": made("SequentialLR", _in_sequence, *_SEQUENCE),
    "chained": made("ChainedScheduler", _in_a_chain, *_CHAIN),
    "averaging": made("SWALR", lambda base, e, g: _linear(base, 0.125, min(e / 4, 1.0)),
                       swa_lr=0.125, anneal_epochs=4, anneal_strategy="linear"),
    "cyclic": made("CyclicLR", _cycled(2, 2, (0.5, 1.5)), base_lr=0.5, max_lr=1.5, step_size_up=2, cycle_momentum=False),
    "cyclic_fine": made("CyclicLR", _cycled(2, 2, (0.1, 0.7)), 0.1, 0.7, 2, 2, cycle_momentum=False),
    "cyclic_halved": made("CyclicLR", _cycled(1, 3, (0.5, 1.5), shrink=0.5), 0.5, 1.5, 1, 3, "triangular2", base_momentum=0.25,
                           max_momentum=0.75, momentum=_cycled(1, 3, (0.75, 0.25), shrink=0.5)),
    "one_cycle": made("OneCycleLR", _phased(_QUARTER, cosine, (0.25, 1.0, 0.25 / 16)), total=12, max_lr=1.0, total_steps=12,
                       pct_start=0.25, base_momentum=0.5, max_momentum=0.75, div_factor=4.0, final_div_factor=16.0,
                       momentum=_phased(_QUARTER, cosine, (0.75, 0.5, 0.75))),
    "one_cycle_linear": made("OneCycleLR", _phased((0, 5, 11), _linear, (0.08, 2.0, 0.08e-4)), 2.0, total=12, epochs=3,
                              steps_per_epoch=4, pct_start=0.5, anneal_strategy="linear", cycle_momentum=False),
    "one_cycle_three": made("OneCycleLR", _phased((0, 4.2, 8.4, 12), _linear, (0.5, 1.0, 0.5, 0.5 / 8)), 1.0, 13, total=13,
                             pct_start=0.4, anneal_strategy="linear", three_phase=True, div_factor=2.0, final_div_factor=8.0,
                             momentum=_phased((0, 4.2, 8.4, 12), _linear, (0.95, 0.85, 0.95, 0.95))),
    "one_cycle_level": made("OneCycleLR", _phased((0, 2.25, 4.5, 12), _linear, (0.5, 1.0, 0.5, 0.5)), 1.0, 13, total=13,
                             pct_start=0.25, anneal_strategy="linear", three_phase=True, base_momentum=0.5, max_momentum=0.75,
                             div_factor=2.0, final_div_factor=1.0,
                             momentum=_phased((0, 2.25, 4.5, 12), _linear, (0.75, 0.5, 0.75, 0.75))),
    "cyclic_of_groups": made("CyclicLR", _cycled(2, 2, (0.5, 1.5), (0.25, 2.0), (0.125, 1.0)), (0.5, 0.25, 0.125),
                              (1.5, 2.0, 1.0), 2, 2, base_momentum=(0.25, 0.5, 0.125), max_momentum=(0.75, 0.875, 0.5),
                              momentum=_cycled(2, 2, (0.75, 0.25), (0.875, 0.5), (0.5, 0.125))),
    "one_cycle_of_groups": made("OneCycleLR",
                                 _phased(_QUARTER, cosine, (0.25, 1.0, 0.25 / 16), (0.125, 0.5, 0.125 / 16), (0.5, 2.0, 0.5 / 16)),
                                 (1.0, 0.5, 2.0), total=12, total_steps=12, pct_start=0.25, base_momentum=(0.5, 0.25, 0.125),
                                 max_momentum=(0.75, 0.875, 0.5), div_factor=4.0, final_div_factor=16.0,
                                 momentum=_phased(_QUARTER, cosine, (0.75, 0.5, 0.75), (0.875, 0.25, 0.875), (0.5, 0.125, 0.5))),
    # The shortest that it can be.
    "step_each": made("StepLR", lambda base, e, g: base * 0.5**e, 1, 0.5),
    # Over no steps.
    "constant_of_none": made("ConstantLR", lambda base, e, g: base, 0.5, total_iters=0),
    "linear_of_none": made("LinearLR", lambda base, e, g: base * 0.5, 0.25, 0.5, total_iters=0),
    "restarts_thrice": made("CosineAnnealingWarmRestarts", lambda base, e, g: _restarted(base, e, 1, 3), 1, T_mult=3),
    # One within another.
    "sequential_within": made("SequentialLR", _in_sequence, part("SequentialLR", *_SEQUENCE), []),
    "chained_within": made("SequentialLR", _in_a_chain, part("ChainedScheduler", *_CHAIN), []),
    # One of a metric that must fall by a quarter, one of a metric that must rise by one.
    "plateau": made("ReduceLROnPlateau", _on_plateau(_FALLING, lambda a, best: a < 0.75 * best, 0.5, 2), metrics=_FALLING,
                     factor=0.5, patience=1, threshold=0.25, cooldown=2),
    "plateau_of_largest": made("ReduceLROnPlateau",
                                _on_plateau(_RISING, lambda a, best: a > 1 + best, 0.25, 1, (0.125, 0.0, 0.25), 0.2),
                                metrics=_RISING, mode="max", factor=0.25, patience=1, threshold=1.0, threshold_mode="abs",
                                cooldown=1, min_lr=(0.125, 0.0, 0.25), eps=0.2),
    "plateau_by_one": made("ReduceLROnPlateau", _on_plateau(_FALLING, lambda a, best: a < best - 1, 0.5, 0), metrics=_FALLING,
                            factor=0.5, patience=1, threshold=1.0, threshold_mode="abs"),
    "plateau_by_half": made("ReduceLROnPlateau", _on_plateau(_RISING, lambda a, best: a > 1.5 * best, 0.5, 0), metrics=_RISING,
                             mode="max", factor=0.5, patience=1, threshold=0.5),
    "plateau_at_the_least": made("ReduceLROnPlateau",
                                  _on_plateau(_FALLING, lambda a, best: a < 0.75 * best, 0.5, 0, (0.25, 0.0, 0.0)),
                                  metrics=_FALLING, factor=0.5, patience=1, threshold=0.25, min_lr=(0.25, 0.0, 0.0)),
    "averaging_cosine": made("SWALR", lambda base, e, g: cosine(base, 0.125, min(e / 4, 1.0)), 0.125, 4),
    "cyclic_by_exponent": made("CyclicLR", _cycled(1, 3, (0.5, 1.5), decay=0.5), 0.5, 1.5, 1, 3, "exp_range", 0.5,
                                base_momentum=0.25, max_momentum=0.75, momentum=_cycled(1, 3, (0.75, 0.25), decay=0.5)),
    "cyclic_by_function": made("CyclicLR", _cycled(1, 3, (0.5, 1.5), decay=0.5), 0.5, 1.5, 1, 3, scale_mode="iterations",
                                cycle_momentum=False, by="power"),
    # At a milestone that is given twice the rate falls twice, by the default factor.
    "multi_step_repeated": made("MultiStepLR", lambda base, e, g: base * 0.1 ** (2 * (e >= 2) + (e >= 5)), [2, 2, 5]),
    # Of functions whose own state is saved.
    "by_object": made("LambdaLR", lambda base, e, g: base * 0.5 ** (1 + e), by="halving"),
    "multiplied_by_object": made("MultiplicativeLR", lambda base, e, g: base * 0.5 ** (e * (e + 1) // 2), by="halving"),
    # Told halves of epochs, as after each batch.
    "restarts_by_halves": made("CosineAnnealingWarmRestarts", lambda base, e, g: _restarted(base, e / 2, 1, 2), 1, T_mult=2,
                                metrics=tuple(e / 2 for e in range(1, 18))),
    "averaging_of_groups": made("SWALR", lambda base, e, g: _linear(base, (0.125, 0.25, 0.5)[g], min(e / 4, 1.0)),
                                 (0.125, 0.25, 0.5), 4, "linear"),
    "averaging_at_once": made("SWALR", lambda base, e, g: 0.125, 0.125, 0, "linear"),
    "function_and_by_object": made("LambdaLR", lambda base, e, g: base * 0.5 ** (1 + e if g else 1), by="half_and_halving"),
}  # fmt: skip


# -- put together --------------------------------------------------------------------------------------------------

#: One metric, and behind it no numbers.
_UNDEFINED = (1.0, *(math.nan,) * 7)
#: What `programs.COMBINED` has beside each plan: its rate at an epoch.
COMBINED: dict[str, Rate] = {
    "linear": lambda base, e, g: base * _linear(1.0, 0.25, min(e / 4, 1.0)),
    "sequential": lambda base, e, g: base * _linear(0.25, 1.0, e / 4) if e < 2 else cosine(base, 0.0, (e - 2) / 16),
    "chained": lambda base, e, g: _linear(0.25, 1.0, min(e / 4, 1.0)) * cosine(base, 0.0, e / 16),
    "averaging": lambda base, e, g: base * 0.5**e if e < 5 else _linear(base / 16, 0.5, (e - 4) / 8),
    "plateau": _on_plateau(_UNDEFINED, lambda a, best: a < best, 0.5, 0, (0.25,) * 3),
    "cyclic": lambda base, e, g: _cycled(1, 3, (0.5, 1.0), shrink=0.5)(base, e, g),
    "restarts_longer": lambda base, e, g: base * 0.5**e if e < 4 else _restarted(base, e - 4, 1, 2),
}
