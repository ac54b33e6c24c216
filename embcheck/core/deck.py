"""The cases that *quick* and *gate* enumerate: chosen for what they kill and cover, and kept as data beside this module.

``python -m selfcheck.deck`` chooses them anew (see there).  They do not depend on a run's seed, which decides the values in
the rows of the cover and what is drawn beside them.
"""

import hashlib
import heapq
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from embcheck.core import stream
from embcheck.core.files import write_whole
from embcheck.core.law import Family
from embcheck.core.space import Space
from embcheck.core.targets import Wish

#: The choices of torch's own families.
KEPT = Path(__file__).with_name("deck.json")
#: A row of the cover is written with a character for the position of each axis, of which this is the first.
_FIRST = ord("0")


@dataclass(frozen=True)
class Choice:
    """What is chosen of a family in a mode: landmarks and small cases, cases of the product of its flags, rows of the cover, and
    aimed cases; a case is kept as `written_case` writes it."""

    small: tuple[tuple[Any, ...], ...] = ()
    product: tuple[tuple[Any, ...], ...] = ()
    rows: tuple[str, ...] = ()
    aimed: tuple[tuple[Any, ...], ...] = ()

    def small_cases(self, space: Space) -> Iterator[Any]:
        return (case_of(space.case_type, each) for each in self.small)

    def product_cases(self, space: Space, name: str, seed: int) -> Iterator[Any]:
        """The cases of the product, then those of the cover, whose values a seed decides, then the aimed ones."""
        rows = (space.at(positions(row), stream.derive(seed, name, row) & 0xFF) for row in self.rows)
        product = (case_of(space.case_type, each) for each in self.product)
        return itertools.chain(product, filter(None, rows), self.aimed_cases(space))

    def aimed_cases(self, space: Space) -> Iterator[Any]:
        return filter(None, (space.repair(case_of(space.case_type, each)) for each in self.aimed))


def aimed_at(space: Space, name: str, position: int, seed: int) -> Any:
    """The aimed case of a family at a position of a seed's stream; None if there is none."""
    if space.aim is None:
        return None
    case = space.aim(Wish(stream.Stream(stream.derive(seed, name, "aimed", position), 64)))
    return None if case is None else space.repair(case)


def written(row: Iterable[int]) -> str:
    """A row of the cover as text."""
    return "".join(chr(_FIRST + position) for position in row)


def positions(row: str) -> list[int]:
    return [ord(character) - _FIRST for character in row]


def written_case(case: Any) -> list[Any]:
    """A case as JSON: a number whose bits say which axes are not as by default, and the values of those."""
    defaults = case._field_defaults
    told = [k for k, name in enumerate(case._fields) if name not in defaults or case[k] != defaults[name]]
    return [sum(1 << k for k in told), *(case[k] for k in told)]


def case_of(case_type: Any, written: Sequence[Any]) -> Any:
    told, *values = written
    names = [name for k, name in enumerate(case_type._fields) if told >> k & 1]
    return case_type(**dict(zip(names, values, strict=True)))


def chosen(family: Family, mode: str, tier: str) -> Choice | None:
    """What a tier, ``quick`` or ``gate``, runs of a family, or what ``full`` is given beside what it enumerates; None if nothing
    was chosen, or its axes are others since."""
    if family.of is not None:
        return None  # the axes of a subject's are its own
    kept = _kept().get(family.name, {})
    if kept.get("of") != digest(family) or mode not in kept["modes"]:
        return None
    each = [kept["modes"][mode].get(name, {}) for name in _TIERS[: _TIERS.index(tier) + 1]]
    found = {name: tuple(_read(where) for parts in each for where in parts.get(name, ())) for name in _ENUMERATED}
    aimed = (heapq.merge(*(parts.get(name, ()) for name in AIMED), key=repr) for parts in each)
    return Choice(**found, aimed=tuple(dict.fromkeys(map(_read, itertools.chain.from_iterable(aimed)))))


def aimed_cases(family: Family, mode: str) -> Iterator[Any]:
    """The aimed cases of a mode that *full* and *deep* run beside what they enumerate: those of all tiers."""
    return (chosen(family, mode, "full") or Choice()).aimed_cases(family.space)


def _read(where: Any) -> Any:
    """JSON's lists as tuples."""
    return tuple(map(_read, where)) if isinstance(where, list) else where


_ENUMERATED = ("small", "product", "rows")
#: Aimed cases are kept by what chose them: for kernels, for entries in Python, for graphs and for steps, and what *quick* has of
#: *gate*'s.
AIMED = ("kernels", "entries", "graphs", "steps", "early")
#: Tiers, each of which has what is chosen for those before; for *full* there are aimed cases alone.
_TIERS = ("quick", "gate", "full")


@lru_cache(maxsize=1)
def _kept() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    return found


def digest(family: Family) -> str:
    """What tells whether a row still means the case that was chosen, but for changes of the code."""
    told = repr((dict(family.space.axes), family.space.case_type._fields))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def enumerated(name: str, tier: str) -> int | None:
    """How many cases a tier has of a family beside those of the tier before and those that are aimed, whatever its axes were then;
    None if nothing was chosen of it."""
    kept = _kept().get(name)
    if kept is None:
        return None
    return sum(len(tiers.get(tier, {}).get(part, ())) for tiers in kept["modes"].values() for part in _ENUMERATED)


def forget(aimed: Iterable[str]) -> None:
    """Takes aimed cases out of what this process knows; what is written stays."""
    for kept in _kept().values():
        for tiers in kept["modes"].values():
            for parts in tiers.values():
                for name in aimed:
                    parts.pop(name, None)


def keep_aimed(name: str, found: Mapping[tuple[str, str, str], Iterable[Any]]) -> None:
    """Writes the aimed cases of one kind, by family, mode and tier, in place of those that there are; all else stays."""
    forget([name])
    data = _kept()
    for (family, mode, tier), cases in found.items():
        parts = data[family]["modes"].setdefault(mode, {}).setdefault(tier, {})
        parts[name] = sorted(map(json.loads, {json.dumps(written_case(case)) for case in cases}), key=repr)
    _write(data)


def keep(choices: dict[str, dict[str, dict[str, Choice]]], families: Mapping[str, Family]) -> None:
    """Writes what is enumerated, by family, mode and tier, beside what is aimed; what is in *quick* is in *gate*, too, and written
    once."""
    data = dict(_kept())
    for name, modes in sorted(choices.items()):
        told: dict[str, Any] = {mode: {} for mode in modes}
        for mode, tiers in data.get(name, {}).get("modes", {}).items():
            aimed = {tier: {part: parts[part] for part in AIMED if part in parts} for tier, parts in tiers.items()}
            told.setdefault(mode, {}).update(aimed)
        for mode, tiers in modes.items():
            for tier, choice in tiers.items():
                listed = {
                    part: sorted(set(where), key=repr) for part in _ENUMERATED if (where := getattr(choice, part))
                }
                told[mode].setdefault(tier, {}).update(listed)
        data[name] = {"of": digest(families[name]), "modes": told}
    _write(data)


def _write(data: dict[str, dict[str, Any]]) -> None:
    lines = []
    for name, kept in data.items():
        modes = {
            mode: {
                tier: {part: tiers[tier][part] for part in (*_ENUMERATED, *AIMED) if part in tiers[tier]}
                for tier in _TIERS
                if tier in tiers
            }
            for mode, tiers in kept["modes"].items()
        }
        told = json.dumps({"of": kept["of"], "modes": modes}, separators=(",", ":"), ensure_ascii=False)
        lines.append(f"{json.dumps(name)}: {told}")
    write_whole(KEPT, "{\n" + ",\n".join(lines) + "\n}\n")
    _kept.cache_clear()
