"""What a run begins with, its baseline, the file of its record and the CPU level beside it, and what it leaves: the record's last
line, and what people read."""

import os
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from embcheck.core.files import unwritable, write_whole
from embcheck.core.verdict import Status, Verdict
from embcheck.engine.levels.level import Beside
from embcheck.record.compare import Baseline, Key
from embcheck.record.record import FORMAT, NAMES_CASES, PAGE, Record, RecordError, Writer, read
from embcheck.record.totals import Totals, by_word
from embcheck.report.github import summary
from embcheck.report.screen import costs_and_absences
from embcheck.runner.run import Results, Settings


def baseline_of(settings: Settings, notes: list[str]) -> Baseline | None:
    """The baseline, if there is one; what it lacks is noted.

    Raises:
        pytest.UsageError: if it can't be read.
    """
    path = settings.baseline
    if path is None:
        return None
    try:
        baseline = read(path)
    except RecordError as error:
        raise pytest.UsageError(f"embcheck: the baseline is no record: {error}") from None
    except OSError as error:
        raise pytest.UsageError(f"embcheck: can't read the baseline {path}: {error.strerror}") from None
    if baseline.shortfall:
        notes.append(f"the baseline is {baseline.shortfall}")
    if baseline.header.get("format", FORMAT) < NAMES_CASES:
        notes.append("the baseline is of an older format and does not say which cases failed; make it anew")
    return Baseline(baseline)


def writer_of(settings: Settings) -> Writer:
    """What writes the record; nothing unless one is asked for.

    Raises:
        pytest.UsageError: if its folder can't be written.
    """
    path = settings.report / "record.ndjson" if settings.report is not None else None
    try:
        return Writer(path)
    except OSError as error:
        raise pytest.UsageError(f"embcheck: can't write the report to {path}: {unwritable(error)}") from None


def beside_of(settings: Settings) -> Beside:
    """The lowest CPU level of a run; of shards the first has it."""
    own = not settings.subject and not settings.modes and settings.device == "cpu"
    return Beside(
        profile=settings.profile,
        seed=settings.seed,
        ledgers=tuple(map(str, settings.ledgers)),
        torch_alone=own and (not settings.shard or settings.shard.startswith("1/")),
    )


def publish(record: Record, baseline: Baseline | None, last: str, folder: Path | None) -> list[str]:
    """The page in the record's folder, if its extra is there, and the summary; what can't be written, in words."""
    summary_file = os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        if summary_file:
            with Path(summary_file).open("a", encoding="utf-8") as file:
                file.write(summary(record, baseline, last))
        if folder is not None and find_spec("jinja2") is not None:
            from embcheck.report.page import of_record, render

            write_whole(folder / PAGE, render([of_record(record, store=folder)]))
    except OSError as error:
        return [f"a report can't be written to {error.filename}: {error.strerror}"]
    return []


def footer(
    results: Results,
    settled: Sequence[Verdict],
    families: Mapping[str, Sequence[int]],
    absences: Mapping[str, Mapping[str, str]],
    excused: Collection[Key],
    **facts: Any,
) -> dict[str, Any]:
    """The last line of a record: what the verdicts of a run add up to, of one process as of shards that were merged.

    ``families`` has of each how many items ran, and how many there are; ``absences`` the modes that it has not; ``excused`` are
    the verdicts that the baseline excuses, and ``facts`` what else the line says.
    """
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
