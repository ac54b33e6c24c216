"""What changed between two runs, law by law and mode by mode: fixed, broken, new, gone, closer to the bound.

The same comparison serves ``embcheck diff`` and the steps between releases; what a baseline excuses is here as well.
Only what both runs judged is compared: what one of them did not select can't have broken on the way to the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import chain
from typing import Any

from embcheck.core.facts import grouped
from embcheck.core.machine import PROVED
from embcheck.core.verdict import Counterexample, Status, Verdict, merge_all
from embcheck.record.record import Record

Key = tuple[str, str, str, str]
#: A way in which a law fails: the kind of difference and the smallest case, or a reason without a case.
Cause = tuple[str, str]


class Move(Enum):
    """How a law's verdict changed; those that fail a comparison come first."""

    BROKEN = "broken"
    UNDECIDED = "undecided"
    KNOWN = "now known"
    FIXED = "fixed"
    EASED = "eased"
    DECIDED = "decided"
    NEW = "new"
    GONE = "gone"
    OTHER_CASES = "known on other cases"
    RATIO = "with another ratio"

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
    #: Ways in which only one side fails.
    causes: tuple[Cause, ...] = ()

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
        if self.causes:
            ways = ", ".join(dict.fromkeys(kind for kind, _ in self.causes))
            return f"still violated, {'on other cases' if self.move is Move.BROKEN else 'no longer so'}: {ways}"
        return " → ".join("not there" if side is None else side.status.word for side in (self.before, self.after))


def _ratio(verdict: Verdict | None) -> str:
    return "exact" if verdict is None or verdict.worst is None else f"{verdict.worst:.2f}"


def cause(example: Counterexample) -> Cause:
    """The way in which a law fails that a counterexample shows: another case is another way."""
    return (example.kind, example.case)


def causes(verdict: Verdict) -> frozenset[Cause]:
    """The ways in which a violated law fails; of one without a case, its reasons."""
    return frozenset(map(cause, verdict.counterexamples)) or frozenset((reason, "") for reason in verdict.reasons)


def compare(before: Record, after: Record) -> list[Change]:
    """Every change from one record to another; those that fail a comparison first."""
    (old, fewer), (new, more) = _comparable(before, after), _comparable(after, before)
    further = _further(Baseline(before), after)
    drawn = any(before.setting(name) != after.setting(name) for name in ("profile", "seed"))
    changes = []
    for key in dict.fromkeys([*new, *old]):
        was, now = old.get(key), new.get(key)
        # Where neither judged a case of the other's nothing changed from one to the other.
        for pair in [(was, None), (None, now)] if key in fewer | more else [(was, now)]:
            if pair[1] is None and after.cut:
                continue  # what a record lacks that was cut off is not gone
            if (change := _change(key, *pair, further)) is not None:
                changes.append(_of_cases(change) if drawn else change)
    order = list(Move)
    return sorted(changes, key=lambda change: order.index(change.move))


def _comparable(record: Record, other: Record) -> tuple[dict[Key, Verdict], set[Key]]:
    """What one side of a comparison says: its verdicts by what they are about, and those *apart*, of which the other record
    judged something, but nothing that this one did.

    Where only some of the items in which a law was judged ran in the other record as well, the verdict is that of these: the
    cases of the others were not selected there.
    """
    found = {verdict.key: verdict for verdict in record.settled()}
    mine, theirs = (grouped(each.verdicts, lambda verdict: verdict.key) for each in (record, other))
    apart = set()
    for key in mine.keys() & theirs.keys():
        both = _shared(mine[key], theirs[key])
        if not both:
            apart.add(key)
        elif len(both) < len(mine[key]):
            found |= merge_all(both)
    return found, apart


def _shared(verdicts: list[Verdict], others: list[Verdict]) -> list[Verdict]:
    """The verdicts of items that ran among the others: of the same part, or of an engine whose cases have other parts there."""
    parts: dict[str, set[str]] = {}  # by engine
    for verdict in others:
        parts.setdefault(verdict.engine, set()).add(verdict.part)

    def ran(engine: str, part: str) -> bool:
        split = {other.partition("/")[2] for other in parts.get(engine, ())}
        return bool(split) and (part in parts[engine] or part.partition("/")[2] not in split)

    return [verdict for verdict in verdicts if ran(verdict.engine, verdict.part)]


def _further(before: Baseline, after: Record) -> dict[Key, bool]:
    """Of the laws that fail in items which both records ran on the same cases, whether they fail on further ones now."""
    failing = grouped((v for v in after.verdicts if v.status == Status.VIOLATED), lambda verdict: verdict.key)
    return {
        key: not all(map(before.shows, verdicts))
        for key, verdicts in failing.items()
        if all(map(before.compares, verdicts))
    }


def _change(key: Key, before: Verdict | None, after: Verdict | None, further: dict[Key, bool]) -> Change | None:
    was, now = (Status.NOT_APPLICABLE if side is None else side.status for side in (before, after))
    if now == Status.NOT_APPLICABLE:
        return None if was == now else Change(key, Move.GONE, before, after)
    if before is None or after is None or (was == Status.NOT_APPLICABLE and now < Status.UNKNOWN):
        return Change(key, Move.NEW, before, after)
    if was == now == Status.VIOLATED:
        more, less = causes(after) - causes(before), causes(before) - causes(after)
        if further.get(key, bool(more)):
            return Change(key, Move.BROKEN, before, after, tuple(sorted(more or causes(after))))
        return Change(key, Move.EASED, before, after, tuple(sorted(less))) if less else None
    if was == now:
        return None if _ratio(before) == _ratio(after) else Change(key, Move.RATIO, before, after)
    moves = {Status.VIOLATED: Move.BROKEN, Status.UNKNOWN: Move.UNDECIDED if was < now else Move.EASED}
    moves[Status.KNOWN] = Move.KNOWN if was == Status.HOLDS else Move.EASED
    return Change(key, moves.get(now, Move.DECIDED if was == Status.UNKNOWN else Move.FIXED), before, after)


def _of_cases(change: Change) -> Change:
    """The change, where profile or seed are others: a law that was given other cases may be known for these alone."""
    before, after = change.before, change.after
    if before is None or after is None or before.digest == after.digest:
        return change
    both = {before.status, after.status} == {Status.HOLDS, Status.KNOWN}
    return replace(change, move=Move.OTHER_CASES) if both else change


@dataclass(frozen=True)
class Former:
    """How the laws failed in one item of a baseline, by law and kind of difference: on which cases, each a bit by its place
    in the item, and the smallest case that was found."""

    failing: Mapping[tuple[str, str], int] = field(default_factory=dict)
    smallest: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def failed(self, law: str, kind: str, place: int) -> bool:
        """Whether a law failed in this way on the case at a place."""
        return bool(self.failing.get((law, kind), 0) >> place & 1)


class Baseline:
    """What a former record excuses: a law's failing on the very cases on which it failed there in the same way.

    That is known of an item that was given the same cases, by a run with the same seed, profile and code.  No other case is
    taken for the same, however alike it is, and what is *unknown*, then or now, is not excused and excuses nothing.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._items = grouped((v for v in record.verdicts if v.status == Status.VIOLATED), _item)

    def former(self, label: str, device: str) -> Former:
        """How the laws failed in an item, ``family/subject/mode/engine/part``."""
        every = chain.from_iterable(self._items.values())
        told = [verdict for verdict in every if verdict.device == device and _label(verdict) == label]
        return Former(
            {(v.law, kind): _places(places) for v in told for kind, places in v.failing.items()},
            {(v.law, e.kind): e.case for v in told for e in v.counterexamples},
        )

    def marked(self, verdict: Verdict) -> Verdict:
        """An item's verdict with a mark at each counterexample that failed in the baseline too."""
        then = self._items.get(_item(verdict), [])
        if verdict.part:
            same = any(verdict.digest == held.digest for held in then)
            examples = tuple(replace(e, in_baseline=e.in_baseline and same) for e in verdict.counterexamples)
        else:
            known = frozenset().union(*map(causes, then))
            examples = tuple(replace(e, in_baseline=cause(e) in known) for e in verdict.counterexamples)
        return replace(verdict, counterexamples=examples)

    def compares(self, verdict: Verdict) -> bool:
        """Whether the baseline has the verdict of an item with the same cases, of which it says which failed."""
        return any(bool(held.failing) and held.digest == verdict.digest for held in self._items.get(_item(verdict), []))

    def shows(self, verdict: Verdict) -> bool:
        """Whether all that fails in an item's verdict failed in the baseline in the same way."""
        then = self._items.get(_item(verdict), [])
        if verdict.status != Status.VIOLATED or not then:
            return False
        if not verdict.part:
            return causes(verdict) <= frozenset().union(*map(causes, then))
        return bool(verdict.failing) and any(
            held.digest == verdict.digest
            and all(_places(text) & ~_places(held.failing.get(kind, "")) == 0 for kind, text in verdict.failing.items())
            for held in then
        )

    def excused(self, verdicts: Iterable[Verdict], settled: Iterable[Verdict]) -> frozenset[Key]:
        """The settled verdicts of which every item fails only as the baseline shows, with nothing undecided beside."""
        bad = {v.key for v in verdicts if v.status >= Status.UNKNOWN and not self.shows(v)}
        return frozenset(
            v.key
            for v in settled
            if v.status == Status.VIOLATED and v.key not in bad and not (v.counterexamples and v.undecided)
        )


def _places(text: str) -> int:
    """The places of failing cases, as a verdict keeps them; none of a text that says nothing."""
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _label(verdict: Verdict) -> str:
    part, _, _ = verdict.part.partition("/")
    return "/".join((verdict.family, verdict.subject, verdict.mode, verdict.engine, part))


def _item(verdict: Verdict) -> tuple[str, ...]:
    """What an item's verdict is about, and of which item it is."""
    return (*verdict.key, verdict.engine, verdict.part)


#: What a machine tells that has no part in what is computed.
_COUNTS = {"cores", "threads"}


def across(before: Record, after: Record) -> str:
    """What may change every verdict between two records, in one line: torch, the machine; empty if both are the same."""
    told = _changed({"torch": before.torch}, {"torch": after.torch})
    old, new = (record.header.get("machine") or {} for record in (before, after))
    if old and new:
        # How many processors there are changes no kernel; a run that ended early has proved nothing of its machine.
        left_out = _COUNTS if all(facts.get("cpu_capability") for facts in (old, new)) else {*_COUNTS, *PROVED}
        other = _changed(*({name: v for name, v in facts.items() if name not in left_out} for facts in (old, new)))
        told += [f"machines ({', '.join(other)})"] if other else []
    elif old or new:
        told.append(f"machines, perhaps (the {'second' if old else 'first'} record does not say its own)")
    return f"compared across {' and '.join(told)}" if told else ""


def differences_of_setup(before: Record, after: Record) -> list[str]:
    """What else was different about two runs, apart from their verdicts: a reader must know before comparing."""
    names = ("seed", "profile", "device", "modes", "subject", "ledger", "only_ledger", "shard")
    sides: list[dict[str, Any]] = []
    for record in (before, after):
        versions = {name: version for name, version in record.header.get("versions", {}).items() if name != "torch"}
        sides.append({name: record.setting(name) for name in names} | versions)
        sides[-1]["python"] = record.header.get("python", "")
    told = _changed(*sides)
    if before.header.get("source") != after.header.get("source"):
        told.append("embcheck's own code")
    selections = [(record.footer or {}).get("selection") for record in (before, after)]
    if all(selections) and selections[0] != selections[1]:
        told.append("what was selected: compared is what both have")
    return told


def _changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [
        f"{name} {_value(old.get(name))} → {_value(new.get(name))}"
        for name in dict.fromkeys([*old, *new])
        if _value(old.get(name)) != _value(new.get(name))
    ]


def _value(value: Any) -> str:
    return " ".join(map(str, value)) or "–" if isinstance(value, (list, tuple)) else str(value or "–")
