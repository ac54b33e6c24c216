"""What a score says: a line for the whole, a table by order, site and damage, and those that no law saw, as they replay."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from embcheck.core.facts import grouped
from selfcheck.conditions import THRESHOLDS
from selfcheck.drawn import Fault, wilson
from selfcheck.judging import DrawnResult

#: A kill is thin that rests on so few cases.
THIN = 3
STATUSES = ("killed", "survived", "not reached", "inert", "equivalent", "unknown", "time-out")
_COLUMNS = ("killed", "of", "%", "Wilson 95 %", *STATUSES[1:], "thin")


def counted(results: Sequence[DrawnResult]) -> list[DrawnResult]:
    """Those that the score counts: all but what is equivalent."""
    return [each for each in results if each.status != "equivalent"]


def killed(results: Sequence[DrawnResult]) -> list[DrawnResult]:
    """Those that a law saw."""
    return [each for each in results if each.status == "killed"]


def share(results: Sequence[DrawnResult]) -> str:
    """How many were killed, of how many, in percent and with Wilson's interval."""
    of, total = len(killed(results)), len(counted(results))
    low, high = wilson(of, total)
    percent = f"{100 * of / total:.1f} %, Wilson 95 % {100 * low:.1f}–{100 * high:.1f}" if total else "none"
    return f"{of:,} of {total:,} ({percent})"


def too_low(results: Sequence[DrawnResult], profile: str) -> bool:
    """Whether even the upper end of the interval lies below what the profile is to kill."""
    return wilson(len(killed(results)), len(counted(results)))[1] < THRESHOLDS[profile]


def distinguished(results: Sequence[DrawnResult]) -> list[DrawnResult]:
    """One of all faults that the same laws saw on the same case, and every other that counts."""
    seen = {(each.laws, each.case): each for each in killed(results)}
    return [*seen.values(), *(each for each in counted(results) if each.status != "killed")]


def by_damage(results: Sequence[DrawnResult]) -> dict[str, tuple[int, int]]:
    """For each damage how many of the cases that it changes, and that were judged, were violations.

    A run begins with the smallest case and ends with the first violation, so of each fault there is one at most.
    """
    return {
        damage: (len(killed(some)), sum(each.judged for each in some))
        for damage, some in sorted(grouped(results, lambda each: Fault.of(each.fault).damage).items())
    }


def groups(results: Sequence[DrawnResult]) -> Iterator[tuple[str, Sequence[DrawnResult]]]:
    """All faults, then those of each order and of each site."""
    yield "all", results
    yield from sorted(grouped(results, lambda each: f"order {Fault.of(each.fault).order}").items())
    yield from sorted(grouped(results, lambda each: Fault.of(each.fault).site).items())


def lines(results: Sequence[DrawnResult], profile: str, seed: int, cases: int) -> Iterator[str]:
    """The report as text."""
    yield f"{profile} kills {share(results)} drawn faults on {cases:,} cases, seed {seed}"
    reached = [each for each in results if each.status != "not reached"]
    yield f"of those reached {share(reached)}; of distinguished faults {share(distinguished(results))}"
    left = [each for each in results if each.aimed is not None and each.status != "equivalent"]
    yield f"of {len(left)} that it leaves, cases aimed at them kill {sum(bool(each.aimed and each.aimed.laws) for each in left)}"
    yield from _table(results)
    told = ", ".join(f"{damage} {of}/{judged}" for damage, (of, judged) in by_damage(results).items())
    yield f"violations per changed case that was judged: {told}"
    only = Counter(each.laws[0] for each in killed(results) if len(each.laws) == 1)
    yield "alone on the killing case: " + ", ".join(f"{law} {count}" for law, count in only.most_common())
    for status in STATUSES[1:]:
        some = [each for each in results if each.status == status]
        if some:
            yield f"{status}; each replays with: embcheck selfcheck --profile {profile} --seed {seed} --fault LINE"
        for each in some:
            yield f"  {shlex.quote(each.fault)}{_words(each)}"


def _table(results: Sequence[DrawnResult]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("", *_COLUMNS)]
    for name, some in groups(results):
        counts = figures(some)
        of, total, (low, high) = counts["killed"], counts["counted"], counts["interval"]
        percent = f"{100 * of / total:.1f}" if total else "–"
        others = (f"{counts[_key(each)]:,}" for each in (*STATUSES[1:], "thin"))
        rows.append((name, f"{of:,}", f"{total:,}", percent, f"{100 * low:.1f}–{100 * high:.1f}", *others))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        yield "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])])


def _words(each: DrawnResult) -> str:
    aimed = each.aimed
    words = [f"met by {each.met:,} cases, changed {each.changed:,}"]
    if aimed is not None and aimed.laws:
        words.append(f"killed by an aimed case: {aimed.laws[0]} on {aimed.case}")
    elif aimed is not None:
        words.append(f"aimed: met by {aimed.met:,}, changed {aimed.changed:,}")
    return "  " + "; ".join([*words, *([each.told] if each.told else [])])


def as_json(results: Sequence[DrawnResult], profile: str, seed: int, cases: int) -> dict[str, Any]:
    """The report for other programs."""
    return {
        "profile": profile,
        "seed": seed,
        "cases": cases,
        "threshold": THRESHOLDS[profile],
        "too_low": too_low(results, profile),
        "thin_cases": THIN,
        "groups": {name: figures(some) for name, some in groups(results)},
        "damages": {damage: {"killed": of, "judged": judged} for damage, (of, judged) in by_damage(results).items()},
        "faults": [{**asdict(each), "aimed": each.aimed and each.aimed._asdict()} for each in results],
    }


def _key(status: str) -> str:
    return status.replace(" ", "_").replace("-", "_")


def figures(results: Sequence[DrawnResult]) -> dict[str, Any]:
    """How many faults came out how, and how many kills rest on few cases."""
    counts = Counter(each.status for each in results)
    some = distinguished(results)
    return {
        "drawn": len(results),
        "counted": len(counted(results)),
        **{_key(status): counts[status] for status in STATUSES},
        "thin": sum(each.changed <= THIN for each in killed(results)),
        "interval": list(wilson(counts["killed"], len(counted(results)))),
        "distinguished": len(some),
        "distinguished_killed": len(killed(some)),
        "aimed_killed": sum(bool(each.aimed and each.aimed.laws) for each in results),
    }
