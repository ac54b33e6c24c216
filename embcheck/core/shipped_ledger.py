"""The shipped ledger, read once, and the causes of what a run met of it."""

from collections.abc import Iterable
from functools import cache

from embcheck.core.cause import Cause, by_severity
from embcheck.core.ledger import SHIPPED, Entry, read_all
from embcheck.core.verdict import entry_name


@cache
def shipped() -> tuple[tuple[Entry, ...], dict[str, Cause]]:
    return read_all(SHIPPED)


@cache
def _by_entry() -> dict[str, Cause]:
    entries, causes = shipped()
    return {entry.name: causes[entry.cause] for entry in entries}


def causes_of(names: Iterable[str]) -> list[Cause]:
    """The causes of the entries with these names, the most severe first; an entry of another ledger is one by itself."""
    return by_severity(dict.fromkeys(_by_entry().get(name) or Cause(name, name, "") for name in names))


@cache
def _places() -> dict[str, int]:
    return {cause.name: place for place, cause in enumerate(by_severity(shipped()[1].values()))}


def place_of(name: str) -> int:
    """The place of an entry's cause, or of a witness's, among all: the most severe first, those of other ledgers last."""
    cause = _by_entry().get(entry_name(name))
    return _places()[cause.name] if cause else len(_places())
