"""Why a run's exit code is what it is, in one line: said by the terminal and by the job's summary."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from embcheck.core.verdict import LEDGER, Status, Verdict
from embcheck.record.totals import Totals, counted

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
) -> str:
    """The reason of an exit code.

    ``excused`` are the verdicts that the baseline excuses; of the ``selected`` items some are ``unaccounted``;
    ``others`` are failed tests that are no laws; ``broken`` says why the record is cut off; ``kept`` are failures of earlier runs
    that are not fixed.
    """
    settled = list(settled)
    failing = [verdict for verdict in settled if verdict.status >= Status.UNKNOWN]
    if code == 1:
        new = [verdict for verdict in failing if verdict.key not in excused]
        return ", ".join(_faults(new, unaccounted, others) + _of_kept(sorted(kept))) or "a test failed that is no law"
    if code == 0 and failing:
        return "what is violated or unknown was so in the baseline, on the very same cases"
    if code == 0 and settled and all(verdict.family == LEDGER for verdict in settled):
        return "no law was judged; the witnesses of the ledger are as their entries say"
    if code == 2 and selected:
        return f"interrupted, after {selected - unaccounted:,} of {counted(selected, 'item')}"
    if code == 3 and broken:
        return f"the record is cut off: {broken}"
    return _MEANINGS.get(code, "pytest ended so")


def _of_kept(kept: list[str]) -> list[str]:
    more = f" and {len(kept) - _NAMED:,} more" if len(kept) > _NAMED else ""
    return [f"{counted(len(kept), 'kept failure')} not fixed ({', '.join(kept[:_NAMED])}{more})"] if kept else []


def _faults(failing: list[Verdict], unaccounted: int, others: int) -> list[str]:
    """What makes a run fail, each with its number, the worst first."""
    totals = Totals.of(failing)
    told = []
    for status in sorted(totals.laws, reverse=True):
        names = dict.fromkeys(each.law for each in failing if each.status == status and each.family != LEDGER)
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        told.append(f"{counted(totals.laws[status])} {status.word} ({', '.join(list(names)[:_NAMED])}{more})")
    if totals.witnesses:
        entries = sum(totals.witnesses.values())
        told.append(f"{entries:,} ledger {'entry is' if entries == 1 else 'entries are'} stale or no longer right")
    if unaccounted:
        told.append(f"no verdict from {counted(unaccounted, 'selected item')}")
    if others:
        told.append(f"{counted(others, 'failed test')} beside the laws")
    return told
