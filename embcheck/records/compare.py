"""What changed between two runs, law by law and mode by mode: fixed, broken, new, gone, closer to the bound.

The same comparison serves ``embcheck diff``, ``embcheck run --baseline`` and the steps between releases.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from embcheck.records.record import Record
from embcheck.verdict import Status, Verdict

Key = tuple[str, str, str, str]


class Move(Enum):
    """How a law's verdict changed."""

    BROKEN = "broken"
    UNDECIDED = "undecided"
    KNOWN = "now known"
    FIXED = "fixed"
    EASED = "eased"
    DECIDED = "decided"
    NEW = "new"
    GONE = "gone"
    RATIO = "ratio"

    @property
    def bad(self) -> bool:
        """Whether a comparison that has such a change fails."""
        return self in (Move.BROKEN, Move.UNDECIDED)


@dataclass(frozen=True)
class Change:
    """A law under one subject, mode and device, before and after; None where it was not judged."""

    key: Key
    move: Move
    before: Verdict | None
    after: Verdict | None
    #: Kinds of difference that only one side shows.
    kinds: tuple[str, ...] = ()

    @property
    def law(self) -> str:
        return self.key[0]

    @property
    def mode(self) -> str:
        return self.key[2]

    @property
    def words(self) -> str:
        """What happened, in a few words."""
        if self.move is Move.RATIO:
            return f"{_ratio(self.before)} → {_ratio(self.after)}"
        if self.before is not None and self.after is not None and self.kinds:
            return f"still violated, {'also' if self.move is Move.BROKEN else 'no longer'} by: {', '.join(self.kinds)}"
        return f"{_status(self.before)} → {_status(self.after)}"


def _status(verdict: Verdict | None) -> str:
    return "not there" if verdict is None else verdict.status.word


def _ratio(verdict: Verdict | None) -> str:
    return "exact" if verdict is None or verdict.worst is None else f"{verdict.worst:.2f}"


def judged(verdicts: Iterable[Verdict]) -> dict[Key, Verdict]:
    """The verdicts by what they are about; what is not applicable was not judged."""
    return {verdict.key: verdict for verdict in verdicts if verdict.status != Status.NOT_APPLICABLE}


def kinds(verdict: Verdict) -> frozenset[str]:
    """The kinds of difference that a violated law shows; of one without a case, its reasons."""
    return frozenset(example.kind for example in verdict.counterexamples) or frozenset(verdict.reasons)


def compare(before: Iterable[Verdict], after: Iterable[Verdict]) -> list[Change]:
    """Every change from one run's settled verdicts to another's; those that fail a comparison first."""
    old, new = judged(before), judged(after)
    changes = [
        change
        for key in dict.fromkeys([*new, *old])
        if (change := _change(key, old.get(key), new.get(key))) is not None
    ]
    order = list(Move)
    return sorted(changes, key=lambda change: order.index(change.move))


def _change(key: Key, before: Verdict | None, after: Verdict | None) -> Change | None:
    if before is None or after is None:
        if after is None:
            return Change(key, Move.GONE, before, None)
        # What nobody had looked at may be wrong from the start: that is not good news.
        moves = {Status.VIOLATED: Move.BROKEN, Status.UNKNOWN: Move.UNDECIDED}
        return Change(key, moves.get(after.status, Move.NEW), None, after)
    was, now = before.status, after.status
    if was == now == Status.VIOLATED:
        more, less = kinds(after) - kinds(before), kinds(before) - kinds(after)
        if more or less:
            return Change(key, Move.BROKEN if more else Move.EASED, before, after, tuple(sorted(more or less)))
        return None
    if was != now:
        return Change(key, _move(was, now), before, after)
    return None if _ratio(before) == _ratio(after) else Change(key, Move.RATIO, before, after)


def _move(was: Status, now: Status) -> Move:
    match now:
        case Status.VIOLATED:
            return Move.BROKEN
        case Status.UNKNOWN:
            return Move.UNDECIDED if was < Status.UNKNOWN else Move.EASED
        case Status.KNOWN:
            return Move.KNOWN if was == Status.HOLDS else Move.EASED
    return Move.DECIDED if was == Status.UNKNOWN else Move.FIXED


def excused(baseline: Iterable[Verdict], verdicts: Iterable[Verdict]) -> frozenset[Key]:
    """The laws that fail no worse than they did in the baseline: with no status above it, and no new kind."""
    old = {verdict.key: verdict for verdict in baseline}
    return frozenset(
        verdict.key
        for verdict in verdicts
        if verdict.status >= Status.UNKNOWN
        and (held := old.get(verdict.key)) is not None
        and held.status >= verdict.status
        and (verdict.status == Status.UNKNOWN or kinds(verdict) <= kinds(held))
    )


def differences_of_setup(before: Record, after: Record) -> list[str]:
    """What was different about two runs, apart from their verdicts: a reader must know before comparing."""
    told = []
    for name in ("seed", "profile", "device", "modes"):
        old, new = before.setting(name), after.setting(name)
        if old != new:
            told.append(f"{name} {old or '–'} → {new or '–'}")
    old_versions, new_versions = (record.header.get("versions", {}) for record in (before, after))
    for name in sorted({*old_versions, *new_versions}):
        if old_versions.get(name) != new_versions.get(name):
            told.append(f"{name} {old_versions.get(name, '–')} → {new_versions.get(name, '–')}")
    if before.header.get("python") != after.header.get("python"):
        told.append(f"python {before.header.get('python', '–')} → {after.header.get('python', '–')}")
    if before.header.get("source") != after.header.get("source"):
        told.append("embcheck's own code")
    return told
