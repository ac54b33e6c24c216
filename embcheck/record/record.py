"""The record of a run: lines of JSON, a header first, a footer last, verdicts and what the laws say between.

Only the controlling process writes it, a line at a time, so whatever ends a run leaves a valid beginning.  Every
report is a fold over a record; one without its footer says so.  ``record.schema.json`` is its schema.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from embcheck.core import aliases
from embcheck.core.accounting import told_by_reason
from embcheck.core.files import emptied, is_empty, opened_alone
from embcheck.core.machine import Machine
from embcheck.core.plot_data import Figure
from embcheck.core.typed import Malformed, built
from embcheck.core.verdict import Statement, Verdict, merge_all
from embcheck.record.totals import Totals, by_word

#: The page about a record, beside it.
PAGE = "report.html"
FORMAT = 5
#: What can still be read: format 1 has no figures, formats 1 and 2 name only the items that crashed again and again, those
#: before 4 don't say which side of a violation departs, and those before 5 have no claims.
READABLE = (1, 2, 3, 4, 5)
#: The first format that says which cases failed, so that a run can be compared with it.
NAMES_CASES = 3


class _Format(TypedDict):
    format: int


class Header(_Format, total=False):
    """The first line: what was run, on what.  ``source`` fingerprints embcheck's own code, ``settings`` are texts,
    ``levels`` says of each further CPU level what was asked for, or why nothing was; ``variables`` are those of the
    environment by which torch and its libraries are set."""

    machine: Machine
    levels: dict[str, str]
    settings: dict[str, str]
    arguments: list[str]
    python: str
    platform: str
    versions: dict[str, str]
    variables: dict[str, str]
    time: str
    source: str


class _End(TypedDict):
    stopped: str
    exit_code: int


class ModeCost(TypedDict, total=False):
    """What a mode cost a family: how many cases, and seconds; or why it is ``absent``."""

    cases: int
    seconds: float
    absent: str


class Footer(_End, total=False):
    """The last line: why the run ended ("finished", if all was run), what its verdicts add up to, a fingerprint of
    its cases, the items that gave no verdict (each with the reason), the failures of earlier runs that are not fixed, a
    fingerprint of what was selected, of each family how many items ran and how many there are, how many laws and how many
    witnesses of the ledger stand how, and the laws that are unknown or violated once obligations are looked at and scripts
    were run; of further CPU levels what was proved; of each family what its modes cost; and which of these verdicts the
    baseline excuses."""

    seconds: float
    cases: int
    digest: str
    lost: list[str]
    unaccounted: dict[str, str]
    kept: dict[str, str]
    selection: str
    families: dict[str, tuple[int, int]]
    laws: dict[str, int]
    witnesses: dict[str, int]
    levels: dict[str, str]
    modes: dict[str, dict[str, ModeCost]]
    settled: list[Verdict]
    excused: list[tuple[str, ...]]


class RecordError(ValueError):
    """A record that can't be read; the message names the file, the line and what was expected."""


class Writer:
    """Appends to a record and flushes every line; without a path it writes nothing.

    After a failed write (a full disk) it keeps the reason in ``broken`` and writes no more.  Until it is closed, or its
    process ends, no other can be opened for the same file.
    """

    def __init__(self, path: Path | None) -> None:
        """Opens ``path``, where the record that was here before stays until the header of this one is written.

        Raises:
            OSError: if it can't be created, or another process writes it.
        """
        self.path = path if path is not None else Path(os.devnull)
        #: Whether there is a file.
        self.writes = path is not None
        self.broken: str | None = None
        self._ended = False
        self._file = opened_alone(path) if path is not None else None

    def write(self, kind: str, data: dict[str, Any]) -> None:
        """One line; never raises."""
        if self._file is None or self.broken is not None:
            return
        try:
            if self._ended:
                raise ValueError(f"a {kind} after the footer")
            line = json.dumps({"kind": kind, **data}, sort_keys=True) + "\n"
            if kind == "header":  # which drops the record that was here before, and its page
                emptied(self._file)
                with contextlib.suppress(OSError):
                    self.path.with_name(PAGE).unlink()
            self._file.write(line)
            self._file.flush()
        except (OSError, TypeError, ValueError) as error:
            self.broken = str(error)

    @property
    def place(self) -> str:
        """Where the record is, and why it is cut off if it is."""
        return f"record: {self.path}" + (f" is cut off: {self.broken}" if self.broken else "")

    def header(self, **facts: Any) -> None:
        self.write("header", {"format": FORMAT, **facts})

    def statement(self, *statements: Statement) -> None:
        for statement in statements:
            self.write("law", {"law": asdict(statement)})

    def verdict(self, *verdicts: Verdict) -> None:
        for verdict in verdicts if self.writes else ():
            self.write("verdict", {"verdict": verdict.to_dict()})

    def figure(self, law: str, figure: Figure) -> None:
        """What a law's cases showed, to be drawn."""
        self.write("figure", {"law": law, "figure": asdict(figure)})

    def footer(self, stopped: str, exit_code: int, **facts: Any) -> None:
        self.write("footer", {"stopped": stopped, "exit_code": exit_code, **facts})
        self._ended = True

    def close(self) -> None:
        """Lets another process write there: after the footer, and after what else belongs into the record's folder.

        A file in which there is nothing is no record, and does not stay.
        """
        try:
            if self._file is not None:
                if not self._file.closed and is_empty(self._file):
                    self.path.unlink(missing_ok=True)
                self._file.close()
        except OSError as error:  # of what could not be written before
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
        """Whether the run came to its end, and every item that was selected gave its verdicts."""
        return not self.shortfall

    @property
    def unaccounted(self) -> dict[str, str]:
        """The items that gave no verdict, each with the reason."""
        footer = self.footer or {}
        told: dict[str, str] = footer.get("unaccounted", {})
        return dict.fromkeys(footer.get("lost", ()), "given up after repeated crashes") | told

    @property
    def cut(self) -> str:
        """Why the run did not come to its end; empty if it did."""
        if self.footer is None:
            return "the run was cut off, and what is here is its beginning"
        stopped = self.footer.get("stopped")
        return "" if stopped == "finished" else f"the run did not finish ({stopped or 'it does not say why'})"

    @property
    def shortfall(self) -> str:
        """Why the record is incomplete, in words; empty if it is complete."""
        lost = f"no verdict from {'; '.join(told_by_reason(self.unaccounted))}" if self.unaccounted else ""
        why = self.cut or lost or self._contradiction
        return f"incomplete: {why}" if why else ""

    @property
    def _contradiction(self) -> str:
        """What the footer counts otherwise than the verdicts do, which somebody edited or lost; empty if nothing."""
        counted = Totals.of(self.settled())
        for name, counts in (("laws", by_word(counted.laws)), ("witnesses", by_word(counted.witnesses))):
            if (said := (self.footer or {}).get(name, counts)) != counts:
                return f"its footer counts {name} {said}, and its verdicts {counts}"
        return ""

    @property
    def torch(self) -> str:
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
    """Reads a record, or the one in a folder; a torn last line is dropped, for a crash may have cut it.

    Raises:
        RecordError: if it is no text, has no header or another format, or a line in its middle is not what it should be.
        OSError: if it can't be read.
    """
    if path.is_dir():
        path = path / "record.ndjson"
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    record: Record | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = _with(record, json.loads(line))
        except Malformed as error:
            raise RecordError(f"{path}, line {number}: {error}") from None
        except (ValueError, RecursionError) as error:
            if number == len(lines) and record is not None:
                break
            raise RecordError(f"{path}, line {number}: not JSON: {error}") from error
    if record is None:
        raise RecordError(f"{path}: empty; expected a header")
    return record


def _with(record: Record | None, data: Any) -> Record:
    """A record with what one more of its lines says."""
    if not isinstance(data, dict):
        raise Malformed("expected an object with a kind")
    kind, form, oldest, newest = data.pop("kind", None), data.get("format"), READABLE[0], READABLE[-1]
    if record is None and kind == "header" and type(form) is int and form > newest:
        raise Malformed(f"has format {form}; this embcheck reads {oldest} to {newest}: a newer one wrote it")
    if record is None and (kind != "header" or type(form) is not int or form not in READABLE):
        raise Malformed(f"expected a header of format {oldest} to {newest}")
    if record is not None and record.footer is not None:
        raise Malformed(f"a {kind} after the footer")
    if record is not None and kind not in ("verdict", "law", "figure", "footer"):
        raise Malformed(f"unknown kind {kind!r}")
    try:
        if record is not None:
            return _added(record, kind, data)
        # A later version may know more of a machine.
        built(Header, data | ({"machine": Machine.of(data["machine"]).to_dict()} if "machine" in data else {}))
        return Record(built(dict[str, Any], data))
    except Malformed as error:
        raise Malformed(f"not a {kind}: {error}") from None


def _added(record: Record, kind: str, data: dict[str, Any]) -> Record:
    """A record with a line of a kind that may follow the header."""
    match kind:
        case "verdict":
            record.verdicts.append(Verdict.from_dict(data.get("verdict", {})))
        case "law":
            statement = Statement.from_dict(data.get("law"))
            record.laws[statement.law] = statement
        case "figure":
            law = aliases.law(built(str, data.get("law")))
            record.figures.setdefault(law, []).append(built(Figure, data.get("figure")))
        case "footer":
            for settled in built(Footer, data).get("settled", ()):
                Verdict.from_dict(settled.to_dict())
            record.footer = built(dict[str, Any], data)
    return record
