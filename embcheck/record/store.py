"""Where failures are kept for ``embcheck replay``: a record and a script each, in a folder of their own.

It is ``.embcheck`` below the folder of ``--report``, or below the working directory without one.
"""

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, TypedDict

from embcheck.core import aliases
from embcheck.core.facts import first_of
from embcheck.core.files import write_whole
from embcheck.core.machine import Machine
from embcheck.core.result import Difference
from embcheck.core.typed import Malformed, built
from embcheck.core.verdict import Counterexample

#: The folder's name.
STORE = ".embcheck"
#: What names a failure, and no other file.
_ID = re.compile("[0-9a-f]+")
#: Kept failures that are named where the one asked for is not among them.
_NAMED = 12


class _Kept(TypedDict):
    id: str
    law: str
    family: str
    subject: str
    mode: str
    device: str
    case: str
    kind: str


class Failure(_Kept, total=False):
    """What is kept of a failure, what it was seen on, and the ledgers of the run (the shipped one is ``""``); of a user's
    subject the ``folder`` of the run; of an audit's what builds the model and what was expected."""

    torch: str
    machine: dict[str, Any]
    ledgers: list[str]
    folder: str
    source: dict[str, Any]
    expect: str


class StoreError(ValueError):
    """There is no such failure, or what was kept of it can't be read; the message is one line."""


def failure_id(*parts: str) -> str:
    """Six hexadecimal digits that name a counterexample: the same failure has the same name everywhere."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=3).hexdigest()


def example_of(
    law: str, family: str, subject: str, mode: str, device: str, case: str, found: Difference, **more: Any
) -> Counterexample:
    """A counterexample that shows a difference, and its name."""
    told = {"kind": found.kind, "words": found.words, "path": found.path, "got": repr(found.got)}
    told |= {"expected": repr(found.expected), "id": failure_id(law, subject, mode, device, case)}
    return Counterexample(law, family, subject, mode, device, case, **(told | more))


def store_of(report: Path | None) -> Path:
    """Where a run with this ``--report`` keeps its failures."""
    return (report or Path()) / STORE


def keep(example: Counterexample, store: Path, **more: Any) -> Path:
    """Writes a failure's record, with ``more`` that its replay needs, and its script; returns the script's path.

    Raises:
        OSError: if the folder can't be written.
    """
    record = {name: getattr(example, name) for name in _Kept.__annotations__}
    write_whole(store / f"{example.id}.json", json.dumps(record | more, indent=1) + "\n")
    path = store / f"{example.id}.py"
    write_whole(path, example.script)
    return path


def recorded(failure: str, store: Path) -> Failure:
    """The record of a failure by its id, or by a beginning that no other has; ``store`` may also be the folder of a report.

    Raises:
        StoreError: if no such failure was kept (the message lists those that were), or it can't be read.
    """
    path = _file(failure, store, ".json")
    try:
        made = built(Failure, json.loads(path.read_text(encoding="utf-8")))
        if odd := [each for each in Machine.of(made.get("machine", {})).caps if "=" not in each]:
            raise Malformed(f"machine: caps: expected NAME=VALUE, got {odd[0]!r}")
    except (OSError, ValueError, RecursionError, Malformed) as error:
        raise StoreError(f"{path} is no record of a failure: {error}") from None
    if made["id"] != path.stem:
        raise StoreError(f"{path} is the record of another failure, {made['id']}")
    return made | {"law": aliases.law(made["law"]), "family": aliases.family(made["family"])}


def script_of(failure: str, store: Path) -> str:
    """The script of a failure by its id; ``store`` may also be the folder of a report.

    Raises:
        StoreError: if none was kept, or it can't be read.
    """
    path = _file(failure, store, ".py")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is no script: {error}") from None


def imports_of(failure: Failure) -> str:
    """What a replay imports that is neither torch nor embcheck, in words; empty if nothing is."""
    source = failure.get("source")
    if source is None:
        from_there = f" from {failure['folder']}" if "folder" in failure else ""
        return failure["subject"] + from_there if failure["subject"] != "torch" else ""
    return "transformers" if source.get("kind") == "hf" else f"{source.get('target')} from {source.get('folder')}"


def kept_in(store: Path) -> list[str]:
    """The ids of the failures that a folder keeps."""
    return sorted(path.stem for path in store.glob("*.json") if _ID.fullmatch(path.stem))


def gather(report: Path, other: Path) -> None:
    """Copies what the folder of a report keeps to that of another.

    Raises:
        OSError: if it can't be read or written.
    """
    if report.resolve() == other.resolve():
        return
    for failure in kept_in(report / STORE):
        (other / STORE).mkdir(exist_ok=True)
        for path in (report / STORE).glob(f"{failure}.*"):
            shutil.copyfile(path, other / STORE / path.name)


def forget(failure: str, store: Path) -> None:
    """Deletes the record and the script of a failure."""
    for ending in (".json", ".py"):
        (store / f"{failure}{ending}").unlink(missing_ok=True)


def is_kept(failure: str, store: Path) -> bool:
    """Whether a failure can be replayed from a store, or from the folder of a report."""
    try:
        return bool(_file(failure, store, ".json"))
    except StoreError:
        return False


def replay_command(failure: str, store: Path) -> str:
    """What a user types to see a failure again: the whole command."""
    folder = store.parent if store.name == STORE else store
    return f"embcheck replay {failure}" + (f" --store {shlex.quote(str(folder))}" if folder != Path() else "")


def _file(failure: str, store: Path, ending: str) -> Path:
    if not _ID.fullmatch(failure):
        raise StoreError(f"no failure {failure!r}: an id is hexadecimal digits, such as c7f3a1")
    known = sorted({*kept_in(store), *kept_in(store / STORE)})
    begun = [each for each in known if each.startswith(failure)]
    whole = begun[0] if len(begun) == 1 else failure
    for folder in (store, store / STORE):
        path = folder / f"{whole}{ending}"
        if path.is_file():
            if path.resolve().parent != folder.resolve():
                raise StoreError(f"{path} leads out of its store, to {path.resolve()}")
            return path
    if len(begun) > 1:
        raise StoreError(f"no failure {failure!r} in {store}: several begin so, {', '.join(begun[:_NAMED])}")
    if begun:
        raise StoreError(f"the file {whole}{ending} is missing in {store}")
    there = f"kept are {first_of(known, _NAMED)}" if known else "none are kept here"
    raise StoreError(f"no failure {failure!r} in {store}: {there}")
