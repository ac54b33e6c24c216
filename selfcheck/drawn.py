"""Drawn faults: a site, a condition and a damage, from a seed; each is one line that says it whole.

embedding_dense_backward  numel>768 & padding=last  ->  give(padding_idx=none)
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from embcheck.core.facts import UnknownFact, holds, named, require
from selfcheck.conditions import WEIGHTS, drawn, facts_of
from selfcheck.contradictions import contradictory
from selfcheck.damages import DAMAGES, Damage
from selfcheck.sites import SITES, Site


class Fault(NamedTuple):
    """A damage at a site under a condition on the facts of the call."""

    site: str
    condition: str
    damage: str

    def __str__(self) -> str:
        return f"{self.site}  {self.condition}  ->  {self.damage}"

    @property
    def order(self) -> int:
        """How many facts the condition speaks of."""
        return len(named([self.condition]))

    def met(self, facts: dict[str, Any]) -> bool:
        """Whether a call with these facts is hit."""
        return holds(self.condition, facts)

    @classmethod
    def of(cls, line: str) -> Fault:
        """The fault of a line.

        Raises:
            UnknownFact: for a condition that is none or speaks of facts that the site has not.
            ValueError: for anything else that is wrong with the line.
        """
        head, arrow, damage = (part.strip() for part in line.partition("->"))
        site, _, condition = head.partition(" ")
        if not arrow or not condition.strip():
            raise ValueError(f"{line!r} is no fault; expected SITE  fact & fact  ->  damage")
        if site not in SITES:
            raise ValueError(f"no site {site!r}; {_close(site, SITES)}")
        if damage not in DAMAGES or not DAMAGES[damage].of(SITES[site]):
            raise ValueError(
                f"{site} has no damage {damage!r}; {_close(damage, [each.name for each in damages(site)])}"
            )
        condition = " & ".join(part.strip() for part in condition.split("&"))
        require(named([condition]), facts_of(site), site)
        return cls(site, condition, damage)


def _close(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), 3)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"


def damages(site: str) -> list[Damage]:
    """The damages of a site."""
    return [damage for damage in DAMAGES.values() if damage.of(SITES[site])]


def senseless(site: Site, condition: str, damage: Damage) -> bool:
    """Whether no call meets the condition, or none that does is changed by the damage."""
    if any(text in condition.split(" & ") for text in damage.forbids):
        return True
    return contradictory([condition, *damage.conditions(site)], site.name)


def faults(count: int, seed: int, site: str = "") -> list[Fault]:
    """So many different faults, of one, two and three facts in turn; the same for the same seed everywhere.

    Raises:
        ValueError: if there are not so many.
    """
    draws = Random(f"drawn faults {seed} {site}")
    found: dict[Fault, None] = {}
    for _ in range(200 * count):
        if len(found) == count:
            break
        fault = draw(draws, len(found) % 3 + 1, site)
        if fault is not None:
            found[fault] = None
    if len(found) < count:
        raise ValueError(f"{site or 'the table'} has fewer than {count} faults")
    return list(found)


def draw(draws: Random, order: int, site: str) -> Fault | None:
    chosen = site or draws.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    condition = drawn(chosen, order, draws)
    damage = draws.choice(damages(chosen))
    if condition is None or senseless(SITES[chosen], condition, damage):
        return None
    return Fault(chosen, condition, damage.name)


def wilson(killed: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's interval of a share, 95 % by default; of nothing it is everything."""
    if not total:
        return 0.0, 1.0
    share = killed / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def always(sites: Sequence[str]) -> Iterator[Fault]:
    """For each site the fault that hits every call; with `planting.RAISE` in place of its damage all are to be killed."""
    for name in sites:
        site = SITES[name]
        yield Fault(name, f"{site.rows}>=0", "zero(first)")


__all__ = ["Fault", "UnknownFact", "always", "damages", "faults", "senseless", "wilson"]
