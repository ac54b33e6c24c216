"""The cases that *quick* and *gate* enumerate: chosen for what they kill and cover, and kept as data beside this module.

``python -m selfcheck.deck`` chooses them anew (see there).  They do not depend on a run's seed, which decides the values in
the rows of the cover and what is drawn beside them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from embcheck import stream
from embcheck.files import write_whole
from embcheck.law import Family
from embcheck.space import Space

#: The choices of torch's own families.
KEPT = Path(__file__).with_name("deck.json")
#: A row of the cover is written with a character for the position of each axis, of which this is the first.
_FIRST = ord("0")


@dataclass(frozen=True)
class Choice:
    """What is chosen of a family in a mode: positions among its landmarks and small cases, positions in the product of its
    flags, and rows of the cover."""

    small: tuple[int, ...] = ()
    product: tuple[int, ...] = ()
    rows: tuple[str, ...] = ()

    def small_cases(self, space: Space) -> Iterator[tuple[int, Any]]:
        """The landmarks and small cases, each with its position."""
        wanted = set(self.small)
        return (each for each in enumerate(small_of(space)) if each[0] in wanted)

    def product_cases(self, space: Space, name: str, seed: int) -> Iterator[Any]:
        """The cases of the product, then those of the cover, whose values a seed decides."""
        rows = (space.at(positions(row), stream.derive(seed, name, row) & 0xFF) for row in self.rows)
        return itertools.chain(space.product(self.product), (case for case in rows if case is not None))


def small_of(space: Space) -> Iterator[Any]:
    """The landmarks and the small cases of a space, in an order that never changes."""
    return itertools.chain(filter(None, map(space.canon, space.landmarks())), space.scope())


def written(row: Iterable[int]) -> str:
    """A row of the cover as text."""
    return "".join(chr(_FIRST + position) for position in row)


def positions(row: str) -> list[int]:
    """What `written` wrote."""
    return [ord(character) - _FIRST for character in row]


def chosen(family: Family, mode: str, tier: str) -> Choice | None:
    """What a tier, ``quick`` or ``gate``, runs of a family; None if nothing was chosen, or its axes are others since."""
    kept = _kept().get(family.name, {})
    if kept.get("of") != digest(family) or mode not in kept["modes"]:
        return None
    each = kept["modes"][mode]
    return Choice(*(tuple(each["quick"][part] + (each[tier][part] if tier != "quick" else [])) for part in _PARTS))


_PARTS = ("small", "product", "rows")


@lru_cache(maxsize=1)
def _kept() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    return found


def digest(family: Family) -> str:
    """What tells whether positions still mean the cases that were chosen, but for changes of the code."""
    space = family.space
    told = repr((dict(space.axes), space.flags, dict(space.base or {}), sum(1 for _ in space.landmarks())))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def keep(choices: dict[str, dict[str, dict[str, Choice]]], families: dict[str, Family], path: Path = KEPT) -> None:
    """Writes what was chosen, by family, mode and tier; what is in *quick* is in *gate*, too, and written once."""
    data = {}
    for name, modes in sorted(choices.items()):
        told = {
            mode: {tier: {part: sorted(getattr(choice, part)) for part in _PARTS} for tier, choice in tiers.items()}
            for mode, tiers in modes.items()
        }
        data[name] = {"of": digest(families[name]), "modes": told}
    lines = [
        f"{json.dumps(name)}: {json.dumps(each, separators=(',', ':'), ensure_ascii=False)}"
        for name, each in data.items()
    ]
    write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")
    _kept.cache_clear()
