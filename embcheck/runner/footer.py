"""The last line of a record: what the verdicts of a run add up to, of one process as of shards that were merged."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from embcheck.core.verdict import Status, Verdict
from embcheck.record.compare import Key
from embcheck.record.totals import Totals, by_word
from embcheck.runner.run import Results


def footer(
    results: Results,
    settled: Sequence[Verdict],
    families: Mapping[str, Sequence[int]],
    absences: Mapping[str, Mapping[str, str]],
    excused: Collection[Key],
    **facts: Any,
) -> dict[str, Any]:
    """``families`` has of each how many items ran, and how many there are; ``absences`` the modes that it has not; ``excused`` are
    the verdicts that the baseline excuses, and ``facts`` what else the line says."""
    from embcheck.report.screen import costs_and_absences

    totals = Totals.of(settled)
    return {
        **facts,
        "cases": results.cases,
        "digest": results.digest,
        "families": {name: list(counts) for name, counts in families.items()},
        "laws": by_word(totals.laws),
        "witnesses": by_word(totals.witnesses),
        "modes": costs_and_absences(settled, absences),
        "settled": [verdict.to_dict() for verdict in settled if verdict.status >= Status.UNKNOWN],
        **({"excused": [list(key) for key in sorted(excused)]} if excused else {}),
    }
