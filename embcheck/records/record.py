"""The record of a run: lines of JSON, a header first, a footer last, verdicts and what the laws say between.

Only the controlling process writes it, a line at a time, so whatever ends a run leaves a valid beginning.  Every
report is a fold over a record; one without its footer says so.  ``record.schema.json`` is its schema.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, TypedDict

from embcheck.figure import Figure
from embcheck.verdict import Statement, Verdict, merge_all

FORMAT = 2
#: What can still be read: format 1 has no figures.
READABLE = (1, 2)


class _Format(TypedDict):
    format: int


class Header(_Format, total=False):
    """The first line: what was run, on what.  ``source`` fingerprints embcheck's own code, ``settings`` are texts."""

    settings: dict[str, str]
    arguments: list[str]
    python: str
    platform: str
    versions: dict[str, str]
    time: str
    source: str


class _End(TypedDict):
    stopped: str
    exit_code: int


class Footer(_End, total=False):
    """The last line: why the run ended ("finished", if all was run), what its verdicts add up to, a fingerprint of
    its cases, the items that were lost to repeated crashes, of each family how many items ran and how many there are,
    and the laws that are unknown or violated once obligations are looked at and scripts were run."""

    seconds: float
    cases: int
    digest: str
    lost: list[str]
    families: dict[str, list[int]]
    laws: dict[str, int]
    settled: list[Verdict]


class RecordError(ValueError):
    """A record that can't be read; the message names the file, the line and what was expected."""


class Writer:
    """Appends to a record and flushes every line.

    After a failed write (a full disk) it keeps the reason in ``broken`` and writes no more.
    """

    def __init__(self, path: Path) -> None:
        """Opens ``path`` anew.

        Raises:
            OSError: if it can't be created.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.broken: str | None = None
        self._file: IO[str] = path.open("w", encoding="utf-8")

    def write(self, kind: str, data: dict[str, Any]) -> None:
        """One line; never raises."""
        if self.broken is not None:
            return
        try:
            self._file.write(json.dumps({"kind": kind, **data}, sort_keys=True) + "\n")
            self._file.flush()
        except (OSError, TypeError, ValueError) as error:
            self.broken = str(error)

    def header(self, **facts: Any) -> None:
        """The first line: what was run, on what."""
        self.write("header", {"format": FORMAT, **facts})

    def statement(self, statement: Statement) -> None:
        """What a law says."""
        self.write("law", {"law": asdict(statement)})

    def verdict(self, verdict: Verdict) -> None:
        """A verdict of one item."""
        self.write("verdict", {"verdict": verdict.to_dict()})

    def figure(self, law: str, figure: Figure) -> None:
        """What a law's cases showed, to be drawn."""
        self.write("figure", {"law": law, "figure": asdict(figure)})

    def footer(self, stopped: str, exit_code: int, **facts: Any) -> None:
        """The last line: why the run ended."""
        self.write("footer", {"stopped": stopped, "exit_code": exit_code, **facts})
        try:
            self._file.close()
        except OSError as error:
            self.broken = self.broken or str(error)


@dataclass
class Record:
    """What a record says.  ``footer`` is None for a run that was cut off."""

    header: dict[str, Any]
    verdicts: list[Verdict] = field(default_factory=list)
    footer: dict[str, Any] | None = None
    laws: dict[str, Statement] = field(default_factory=dict)
    figures: dict[str, list[Figure]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the run came to its end and nothing was selected away."""
        return self.footer is not None and self.footer.get("stopped") == "finished"

    @property
    def shortfall(self) -> str:
        """Why the record is incomplete, in words; empty if it is complete."""
        if self.footer is None:
            return "incomplete: the run was cut off, and what is here is its beginning"
        if not self.complete:
            return f"incomplete: the run did not finish ({self.footer.get('stopped')})"
        lost = self.footer.get("lost", ())
        return f"incomplete: given up after repeated crashes: {', '.join(lost)}" if lost else ""

    @property
    def torch(self) -> str:
        """The torch release that was checked."""
        return str(self.header.get("versions", {}).get("torch", "?"))

    def setting(self, name: str) -> str:
        """A setting of the run as text; empty if it has none of this name."""
        return str(self.header.get("settings", {}).get(name, ""))

    def settled(self) -> list[Verdict]:
        """One verdict for each law, subject, mode and device.

        The footer has the last word on those that are unknown or violated: it has looked at the obligations.
        """
        merged = merge_all(self.verdicts)
        for data in (self.footer or {}).get("settled", ()):
            verdict = Verdict.from_dict(data)
            merged[verdict.key] = verdict
        return list(merged.values())


def read(path: Path) -> Record:
    """Reads a record; a torn last line is dropped, for a crash may have cut it.

    Raises:
        RecordError: if it has no header, another format, or a line in its middle that is no JSON, no law or no verdict.
        OSError: if it can't be read.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    record: Record | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise RecordError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(data, dict):
            raise RecordError(f"{path}, line {number}: expected an object with a kind")
        kind = data.pop("kind", None)
        if record is None:
            if kind != "header" or data.get("format") not in READABLE:
                formats = " or ".join(map(str, READABLE))
                raise RecordError(f"{path}, line {number}: expected a header of format {formats}")
            record = Record(data)
        elif kind == "verdict":
            try:
                record.verdicts.append(Verdict.from_dict(data["verdict"]))
            except (AttributeError, KeyError, TypeError) as error:
                raise RecordError(f"{path}, line {number}: not a verdict: {error}") from error
        elif kind == "law":
            try:
                record.laws[data["law"]["law"]] = Statement(**data["law"])
            except (KeyError, TypeError) as error:
                raise RecordError(f"{path}, line {number}: not a law: {error}") from error
        elif kind == "figure":
            try:
                record.figures.setdefault(data["law"], []).append(Figure.from_dict(data["figure"]))
            except (AttributeError, KeyError, TypeError) as error:
                raise RecordError(f"{path}, line {number}: not a figure: {error}") from error
        elif kind == "footer":
            record.footer = data
        else:
            raise RecordError(f"{path}, line {number}: unknown kind {kind!r}")
    if record is None:
        raise RecordError(f"{path}: empty; expected a header")
    return record
