"""Records of the shards of one run, made one again: the lattice of verdicts does not care who judged what."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import filterfalse, islice
from pathlib import Path
from typing import Any

from embcheck.core.verdict import LEDGER, Status
from embcheck.engine.levels.level import level_of
from embcheck.record.compare import Key
from embcheck.record.record import FORMAT, Record, Writer
from embcheck.runner.opening import footer
from embcheck.runner.run import Results, Settings, exit_code, settle, shard_of

#: Shards that are missing and named.
_NAMED = 8


class ShardError(ValueError):
    """Records that are no shards of one run; the message says which and why."""


def merged(records: Sequence[Record]) -> Record:
    """The record of the whole run; incomplete, in words, if a shard is missing or did not finish.

    Raises:
        ShardError: if they are shards of different runs, or one of them twice.
    """
    first = records[0]
    told = [shard_of(record.setting("shard") or "1/1") for record in records]
    footers = [record.footer or {} for record in records]
    count = told[0][1]
    numbers = [number for number, _ in told]
    if any(of != count for _, of in told) or len(set(numbers)) != len(numbers):
        raise ShardError(f"no shards of one run: {', '.join(f'{number}/{of}' for number, of in told)}")
    if old := {record.header.get("format", FORMAT) for record in records} - {FORMAT}:
        raise ShardError(f"a record has format {min(old)}: merge it with the embcheck that wrote it")
    for record in records[1:]:
        if (reason := _stranger(first, record)) is not None:
            raise ShardError(f"shards of different runs: {reason}")
    twice = [
        item for item, count in Counter(item for record in records for item in _items(record)).items() if count > 1
    ]
    if twice:
        raise ShardError(f"shards of different splits: {twice[0]} was judged in two of them")
    results = Results(Settings(), verdicts=[verdict for record in records for verdict in record.verdicts])
    families = _families(records)
    settled = settle(results.verdicts, {family for family, (ran, of) in families.items() if ran >= of})
    excused = _excused(records)
    unaccounted = {item: reason for record in records for item, reason in record.unaccounted.items()}
    ends = (end.get("stopped") or "a shard of the run was cut off" for end in footers)
    stopped = _missing(numbers, count) or next((end for end in ends if end != "finished"), "")
    kept = {failure: words for end in footers for failure, words in end.get("kept", {}).items()}
    # What made a shard fail may stand in none of its verdicts: a kept failure, a failed test that is no law.  Of few items a
    # shard may have got none (5), which is no failure.
    failed = [end for end in footers if end.get("exit_code") not in (None, 0, 5)]
    failing = exit_code(verdict for verdict in settled if verdict.key not in excused)
    levels = {level: words for end in footers for level, words in end.get("levels", {}).items()}
    told_of_all = footer(
        results,
        settled,
        families,
        _absences(footers),
        excused,
        stopped=stopped or "finished",
        exit_code=int(failing or bool(unaccounted or kept or failed or stopped)),
        seconds=round(sum(end.get("seconds", 0) for end in footers), 1),
        unaccounted=unaccounted,
        **({"kept": kept} if kept else {}),
        **({"levels": levels} if levels else {}),
        selection=footers[0].get("selection", ""),
    )
    machine = _machine([record.header["machine"] for record in records if record.header.get("machine")])
    settings = {name: value for name, value in first.header.get("settings", {}).items() if name != "shard"}
    header = {**first.header, **machine, "settings": settings}
    laws = {name: law for record in records for name, law in record.laws.items()}
    figures = {law: [each for record in records for each in record.figures.get(law, ())] for law in laws}
    figures = {law: found for law, found in figures.items() if found}
    return Record(header, results.verdicts, told_of_all, laws, figures)


def _missing(numbers: Sequence[int], count: int) -> str:
    """The first shards that are not among so many, and how many more there are; empty if there are all."""
    named = [f"{each}/{count}" for each in islice(filterfalse({*numbers}.__contains__, range(1, count + 1)), _NAMED)]
    more = count - len(numbers) - len(named)
    return f"no shard {', '.join(named)}" + (f" and {more:,} more" if more else "") if named else ""


def write(whole: Record, path: Path) -> Writer:
    """Writes a record as one run would have; the writer says whether that went well.

    Raises:
        OSError: if the file can't be created.
    """
    writer = Writer(path)
    writer.header(**{name: value for name, value in whole.header.items() if name not in ("kind", "format")})
    writer.statement(*whole.laws.values())
    writer.verdict(*whole.verdicts)
    for law, drawn in whole.figures.items():
        for figure in drawn:
            writer.figure(law, figure)
    writer.footer(**(whole.footer or {}))
    writer.close()
    return writer


def _stranger(first: Record, other: Record) -> str | None:
    """What tells a record apart from the first one's run."""
    for name in ("seed", "profile", "device", "modes", "subject", "ledger", "only_ledger"):
        if first.setting(name) != other.setting(name):
            return f"{name} {first.setting(name) or '–'} and {other.setting(name) or '–'}"
    selected = [(record.footer or {}).get("selection") for record in (first, other)]
    if all(selected) and selected[0] != selected[1]:
        return "they were split from other selections of items"
    if first.torch != other.torch or first.header.get("source") != other.header.get("source"):
        return f"torch {first.torch} and {other.torch}, or another embcheck"
    return None


def _machine(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The machines of all shards as one: what all have, and of what differs each value."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for facts in told for name in facts):
        values: list[Any] = [facts.get(name) for facts in told]
        if all(value == values[0] for value in values):
            found[name] = values[0]
        elif all(isinstance(value, list) for value in values):
            found[name] = [one for one in values[0] if all(one in value for value in values)]
        elif all(isinstance(value, int) for value in values):
            found[name] = min(values)
        else:
            found[name] = " or ".join(dict.fromkeys(str(value or "none") for value in values))
    return {"machine": found} if told else {}


def _items(record: Record) -> set[str]:
    """The items of a record and the witnesses that it looked at; what is said of a crash belongs to no item."""
    witnesses = {each.law for each in record.verdicts if each.family == LEDGER}
    own = [each for each in record.verdicts if each.part and not level_of(each.device)]
    return witnesses | {f"{each.family} {each.engine}[{each.mode}] {each.part}" for each in own}


def _families(records: Sequence[Record]) -> dict[str, tuple[int, int]]:
    """Of each family how many items ran, in whichever shard, and how many there are."""
    found: dict[str, tuple[int, int]] = {}
    for record in records:
        for family, (ran, of) in (record.footer or {}).get("families", {}).items():
            before, most = found.get(family, (0, 1))
            found[family] = (before + ran, max(most, of))
    return found


def _excused(records: Sequence[Record]) -> frozenset[Key]:
    """The verdicts that the baseline excuses, in each shard in which they fail."""
    excused, failing = set[Key](), set[Key]()
    for record in records:
        end = record.footer or {}
        own: set[Any] = {tuple(key) for key in end.get("excused", ())}
        excused |= own
        failing |= {verdict.key for verdict in record.settled() if verdict.status >= Status.UNKNOWN} - own
    return frozenset(excused - failing)


def _absences(footers: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """For each family the modes that it has not, and why."""
    found: dict[str, dict[str, str]] = {}
    for end in footers:
        for family, modes in end.get("modes", {}).items():
            told = {mode: cost["absent"] for mode, cost in modes.items() if "absent" in cost}
            found.setdefault(family, {}).update(told)
    return found
