"""What a run begins with: the baseline that it is compared with, the file of its record, and the CPU level beside it."""

from __future__ import annotations

import pytest

from embcheck.engine.levels.beside import Beside
from embcheck.record.compare import Baseline
from embcheck.record.record import FORMAT, NAMES_CASES, RecordError, Writer, read
from embcheck.runner.run import Settings


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


def writer_of(settings: Settings) -> Writer | None:
    """What writes the record, if one is asked for.

    Raises:
        pytest.UsageError: if its folder can't be written.
    """
    if settings.report is None:
        return None
    path = settings.report / "record.ndjson"
    try:
        return Writer(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise pytest.UsageError(
            f"embcheck: can't write the report to {path}: {reason}; name a writable folder"
        ) from None


def beside_of(settings: Settings) -> Beside:
    """The lowest CPU level of a run; of shards the first has it."""
    own = not settings.subject and not settings.modes and settings.device == "cpu"
    return Beside(
        profile=settings.profile,
        seed=settings.seed,
        ledgers=tuple(map(str, settings.ledgers)),
        torch_alone=own and (not settings.shard or settings.shard.startswith("1/")),
    )
