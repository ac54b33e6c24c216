"""The record of a run: lines of JSON, a header first, a footer last, verdicts between.

Only the controlling process writes it, a line at a time, so whatever ends a run leaves a valid beginning.  Every
report is a fold over a record; one without its footer says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from embcheck.verdict import Verdict

FORMAT = 1


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

    def verdict(self, verdict: Verdict) -> None:
        """A verdict of one item."""
        self.write("verdict", {"verdict": verdict.to_dict()})

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

    @property
    def complete(self) -> bool:
        """Whether the run came to its end and nothing was selected away."""
        return self.footer is not None and self.footer.get("stopped") == "finished"


def read(path: Path) -> Record:
    """Reads a record; a torn last line is dropped, for a crash may have cut it.

    Raises:
        RecordError: if it has no header, another format, or a line in its middle that is no JSON or no verdict.
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
            if kind != "header" or data.get("format") != FORMAT:
                raise RecordError(f"{path}, line {number}: expected a header of format {FORMAT}")
            record = Record(data)
        elif kind == "verdict":
            try:
                record.verdicts.append(Verdict.from_dict(data["verdict"]))
            except (AttributeError, KeyError, TypeError) as error:
                raise RecordError(f"{path}, line {number}: not a verdict: {error}") from error
        elif kind == "footer":
            record.footer = data
        else:
            raise RecordError(f"{path}, line {number}: unknown kind {kind!r}")
    if record is None:
        raise RecordError(f"{path}: empty; expected a header")
    return record
