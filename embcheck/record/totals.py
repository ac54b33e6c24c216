"""How many laws stand how: counted here, for the terminal, the job's summary, the page, the grids and the footer; and why a
run's exit code is what it is.

A law counts once for each subject, by its worst verdict over modes, engines, devices and runs.  The witnesses of the
ledger's entries are no laws and are counted by themselves, and what they have in common: their causes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from embcheck.core.cause import Cause, summed_up
from embcheck.core.facts import first_of, grouped
from embcheck.core.shipped_ledger import causes_of
from embcheck.core.verdict import LEDGER, Status, Verdict, entry_name


@dataclass(frozen=True)
class Totals:
    """The numbers of laws, and of witnesses, by their status; the ledger's entries that were met: whose witness still
    fails, or that excused a case."""

    laws: Counter[Status]
    witnesses: Counter[Status]
    entries: frozenset[str] = frozenset()

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> Totals:
        worst = _worst(verdicts := list(verdicts))
        laws = Counter(status for (_, _, family), status in worst.items() if family != LEDGER)
        witnesses = Counter(status for (_, _, family), status in worst.items() if family == LEDGER)
        met = {name for verdict in verdicts for name in verdict.entries}
        met |= {entry_name(v.law) for v in verdicts if v.family == LEDGER and v.status == Status.KNOWN}
        return cls(laws, witnesses, frozenset(met))

    @property
    def causes(self) -> list[Cause]:
        """What torch is known to get wrong of what was met, the most severe first."""
        return causes_of(self.entries)

    def __str__(self) -> str:
        """In words: what is worst comes first."""
        witnesses = f"witnesses of the ledger: {told(self.witnesses)}" if self.witnesses else ""
        return " · ".join(filter(None, (f"laws: {told(self.laws)}", summed_up(self.causes), witnesses)))


def _worst(verdicts: Iterable[Verdict]) -> dict[tuple[str, str, str], Status]:
    """How each law stands for each subject, whatever the mode."""
    alike = grouped(verdicts, lambda verdict: (verdict.law, verdict.subject, verdict.family))
    return {key: max(verdict.status for verdict in group) for key, group in alike.items()}


@dataclass(frozen=True)
class Share:
    """What one family, or several together, came to: laws by their status, judged cases, seconds of all workers, and the
    ledger entries that excused a case."""

    families: tuple[str, ...]
    laws: Counter[Status]
    cases: int
    seconds: float
    entries: frozenset[str]

    def __add__(self, other: Share) -> Share:
        sums = self.families + other.families, self.laws + other.laws, self.cases + other.cases
        return Share(*sums, self.seconds + other.seconds, self.entries | other.entries)


def shares(settled: Iterable[Verdict], judged: Iterable[Verdict]) -> dict[str, Share]:
    """What each family came to, from the ``settled`` verdicts, and from those of single items, ``judged``, whose cases and
    seconds add up."""
    own = grouped(judged, lambda verdict: verdict.family)
    laws = grouped(_worst(settled).items(), lambda law: law[0][2])
    return {
        name: Share(
            families=(name,),
            laws=Counter(status for _, status in laws.get(name, ())),
            cases=cases_by_family(own.get(name, ())).get(name, 0),
            seconds=sum((verdict.seconds for verdict in own.get(name, ())), 0.0),
            entries=frozenset(entry for verdict in own.get(name, ()) for entry in verdict.entries),
        )
        for name in dict.fromkeys([*own, *laws])
        if name != LEDGER
    }


def cases_by_engine(verdicts: Iterable[Verdict]) -> dict[str, Counter[str]]:
    """How many cases of each family each engine judged (a case is judged by every law of its family, and counted once); a witness
    is none of them."""
    own = (verdict for verdict in verdicts if verdict.family != LEDGER)
    alike = grouped(own, lambda v: (v.family, v.engine, v.subject, v.mode, v.digest))
    found: dict[str, Counter[str]] = {}
    for (family, engine, *_), group in alike.items():
        found.setdefault(family, Counter())[engine] += max(verdict.cases for verdict in group)
    return found


def cases_by_family(verdicts: Iterable[Verdict]) -> dict[str, int]:
    return {family: counts.total() for family, counts in cases_by_engine(verdicts).items()}


def told(counts: Counter[Status]) -> str:
    """Statuses with their numbers, the worst first."""
    return ", ".join(f"{counts[status]} {status.word}" for status in sorted(counts, reverse=True)) or "none"


def by_word(counts: Counter[Status]) -> dict[str, int]:
    return {status.word: counts[status] for status in sorted(counts, reverse=True)}


def counted(number: int, noun: str = "law") -> str:
    """``1 law``, ``5 laws``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


#: Laws that the reason names.
_NAMED = 3
#: What an exit code means where nothing more is known of the run.
_MEANINGS = {
    0: "every law holds, is known or not applicable",
    2: "interrupted",
    3: "internal error",
    4: "usage: what was asked for can't be",
    5: "nothing was selected",
}


def verdict_line(code: int, why: str) -> str:
    """The last line of a run."""
    return f"exit code {code}: {why}"


def because(
    code: int,
    settled: Iterable[Verdict] = (),
    excused: Collection[tuple[str, str, str, str]] = (),
    *,
    unaccounted: int = 0,
    selected: int = 0,
    others: int = 0,
    broken: str = "",
    kept: Collection[str] = (),
    cut: str = "",
) -> str:
    """The reason of an exit code.

    ``excused`` are the verdicts that the baseline excuses; of the ``selected`` items some are ``unaccounted``;
    ``others`` are failed tests that are no laws; ``broken`` says why the record is cut off; ``kept`` are failures of earlier runs
    that are not fixed; ``cut`` is why shards that were merged are not the whole run.
    """
    settled = list(settled)
    failing = [verdict for verdict in settled if verdict.status >= Status.UNKNOWN]
    if code == 1:
        told = _faults([verdict for verdict in failing if verdict.key not in excused], unaccounted, others)
        if kept:
            told.append(f"{counted(len(kept), 'kept failure')} not fixed ({first_of(sorted(kept), _NAMED)})")
        told += [cut] if cut else []
        return ", ".join(told) or "a test failed that is no law"
    if code == 0 and failing:
        return "every violation was in the baseline already, on the very same cases"
    if code == 0 and settled and all(verdict.family == LEDGER for verdict in settled):
        return "no law was judged; the witnesses of the ledger are as their entries say"
    if code == 5 and settled:
        return "; ".join(["no law was judged", *[verdict.reasons[0] for verdict in settled if verdict.reasons][:1]])
    if code == 2 and selected:
        # A file of laws that can't be imported is unaccounted for, too, and no item.
        return f"interrupted, after {max(0, selected - unaccounted):,} of {counted(selected, 'item')}"
    if code == 3 and broken:
        return f"the record is cut off: {broken}"
    return _MEANINGS.get(code, "pytest ended so")


def _faults(failing: list[Verdict], unaccounted: int, others: int) -> list[str]:
    """What makes a run fail, each with its number, the worst first."""
    totals = Totals.of(failing)
    told = []
    for status in sorted(totals.laws, reverse=True):
        names = dict.fromkeys(each.law for each in failing if each.status == status and each.family != LEDGER)
        told.append(f"{counted(totals.laws[status])} {status.word} ({first_of(list(names), _NAMED)})")
    if totals.witnesses:
        entries = sum(totals.witnesses.values())
        told.append(f"{entries:,} ledger {'entry is' if entries == 1 else 'entries are'} stale or no longer right")
    if unaccounted:
        told.append(f"no verdict from {counted(unaccounted, 'selected item')}")
    if others:
        told.append(f"{counted(others, 'failed test')} beside the laws")
    return told
