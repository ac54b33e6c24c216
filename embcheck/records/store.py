"""Where failures are kept for ``embcheck replay``: a record and a script each, under the working directory."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from embcheck.verdict import Counterexample

#: The folder's name.
STORE = ".embcheck"


def failure_id(*parts: str) -> str:
    """Six hexadecimal digits that name a counterexample: the same failure has the same name everywhere."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=3).hexdigest()


def keep(example: Counterexample, folder: Path, **more: Any) -> Path:
    """Writes a failure's record, with ``more`` that its replay needs, and its script; returns the script's path.

    Raises:
        OSError: if the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = {name: getattr(example, name) for name in ("law", "family", "subject", "mode", "device", "case", "kind")}
    (folder / f"{example.id}.json").write_text(json.dumps({"id": example.id, **record, **more}, indent=1) + "\n")
    path = folder / f"{example.id}.py"
    path.write_text(example.script)
    return path


def recorded(failure: str, folder: Path) -> dict[str, Any]:
    """The record of a failure by its id.

    Raises:
        FileNotFoundError: if no such failure was kept; the message lists those that were.
    """
    path = folder / f"{failure}.json"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.json"))
        there = f"kept are {', '.join(known)}" if known else "none are kept here"
        raise FileNotFoundError(f"no failure {failure!r} in {folder}: {there}")
    data: dict[str, Any] = json.loads(path.read_text())
    return data
