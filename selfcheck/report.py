"""What a score says: a line for the whole, one for each order and site, and those that no law saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from selfcheck.conditions import THRESHOLDS
from selfcheck.drawn import Fault, wilson
from selfcheck.judging import Fared

#: A kill is thin that rests on so few cases.
THIN = 3
STATUSES = ("killed", "survived", "not reached", "inert", "unknown", "time-out")


def share(fared: Sequence[Fared]) -> str:
    """How many were killed, of how many, in percent and with the interval."""
    killed, total = sum(each.status == "killed" for each in fared), len(fared)
    low, high = wilson(killed, total)
    percent = f"{100 * killed / total:.1f} %, Wilson 95 % {100 * low:.1f}–{100 * high:.1f}" if total else "none"
    return f"{killed:,} of {total:,} ({percent})"


def too_low(fared: Sequence[Fared], profile: str) -> bool:
    """Whether even the upper end of the interval lies below what the profile is to kill."""
    return wilson(sum(each.status == "killed" for each in fared), len(fared))[1] < THRESHOLDS[profile]


def thin(fared: Sequence[Fared]) -> list[Fared]:
    """The kills that rest on few cases."""
    return [each for each in fared if each.status == "killed" and each.changed <= THIN]


def lines(fared: Sequence[Fared], profile: str, cases: int) -> Iterator[str]:
    """The report as text."""
    reached = [each for each in fared if each.status != "not reached"]
    yield f"{profile} kills {share(fared)} drawn faults on {cases:,} cases; of those reached {share(reached)}"
    for order, some in _grouped(fared, lambda each: Fault.of(each.fault).order):
        yield f"  order {order}: {share(some)}; {_others(some)}"
    for site, some in _grouped(fared, lambda each: Fault.of(each.fault).site):
        yield f"  {site}: {share(some)}; {_others(some)}"
    yield f"{_others(fared)}; thin kills, on at most {THIN} cases: {len(thin(fared))}"
    only = Counter(each.laws[0] for each in fared if each.status == "killed" and len(each.laws) == 1)
    yield "alone on the killing case: " + ", ".join(f"{law} {count}" for law, count in only.most_common())
    for status in STATUSES[1:]:
        for each in fared:
            if each.status == status:
                told = f" ({each.told})" if each.told else ""
                yield f"{status}: {each.fault}  [met by {each.met:,} cases, changed {each.changed:,}]{told}"


def _grouped(fared: Sequence[Fared], key: Callable[[Fared], Any]) -> list[tuple[Any, list[Fared]]]:
    groups: dict[Any, list[Fared]] = {}
    for each in fared:
        groups.setdefault(key(each), []).append(each)
    return sorted(groups.items())


def _others(fared: Sequence[Fared]) -> str:
    counts = Counter(each.status for each in fared)
    return ", ".join(f"{status} {counts[status]}" for status in STATUSES[1:])


def as_json(fared: Sequence[Fared], profile: str, seed: int, cases: int) -> dict[str, Any]:
    """The report for other programs."""
    counts = Counter(each.status for each in fared)
    low, high = wilson(counts["killed"], len(fared))
    return {
        "profile": profile,
        "seed": seed,
        "cases": cases,
        "drawn": len(fared),
        **{status.replace(" ", "_").replace("-", "_"): counts[status] for status in STATUSES},
        "thin": len(thin(fared)),
        "interval": [low, high],
        "faults": [asdict(each) for each in fared],
    }
