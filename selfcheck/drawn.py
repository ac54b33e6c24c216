"""Drawn faults: a site, a condition and a damage, from a seed; each is one line that says it whole.

embedding_dense_backward  numel>768 & padding=last  ->  give(padding_idx=none)
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any, NamedTuple

from embcheck.core.facts import closest, holds, named, require
from selfcheck.conditions import TABLES, WEIGHTS
from selfcheck.contradictions import contradictory
from selfcheck.damages import Damage
from selfcheck.kernels import DAMAGES, SITES
from selfcheck.python_damages import PYTHON_DAMAGES
from selfcheck.python_sites import PYTHON_SITES
from selfcheck.site import Site
from selfcheck.traced import TRACED_DAMAGES, TRACED_SITES

#: Every site with the damages of its kind.
_SITES: Mapping[str, tuple[Site, Mapping[str, Damage]]] = {
    name: (site, having)
    for sites, having in ((SITES, DAMAGES), (PYTHON_SITES, PYTHON_DAMAGES), (TRACED_SITES, TRACED_DAMAGES))
    for name, site in sites.items()
}


def _found(name: str) -> tuple[Site, Mapping[str, Damage]]:
    if name not in _SITES:
        raise ValueError(f"no site {name!r}; {_close(name, _SITES)}")
    return _SITES[name]


def site_of(name: str) -> Site:
    """The site of a name; a ValueError if there is none."""
    return _found(name)[0]


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

    @property
    def needs(self) -> list[str]:
        """What a call meets that is hit, and for the damage to change anything there."""
        return [self.condition, *damage_of(self.site, self.damage).conditions(site_of(self.site))]

    def met(self, facts: dict[str, Any]) -> bool:
        """Whether a call with these facts is hit."""
        return holds(self.condition, facts)

    @classmethod
    def of(cls, line: str) -> Fault:
        """The fault of a line; an UnknownFact for facts that the site has not, a ValueError for whatever else is wrong with it."""
        head, arrow, damage = (part.strip() for part in line.partition("->"))
        site, _, condition = head.partition(" ")
        if not arrow or not condition.strip():
            raise ValueError(f"{line!r} is no fault; expected SITE  fact & fact  ->  damage")
        having = [each.name for each in damages(site)]
        if damage not in having:
            raise ValueError(f"{site} has no damage {damage!r}; {_close(damage, having)}")
        condition = " & ".join(part.strip() for part in condition.split("&"))
        known = {each.fact for table in TABLES.values() for each in table.get(site, ())}
        require(named([condition]), known | {"earlier"}, site)
        return cls(site, condition, damage)


def _close(word: str, known: Collection[str]) -> str:
    return closest(word, known) or f"there are {', '.join(known)}"


@cache
def damages(site: str) -> Sequence[Damage]:
    """The damages of a site."""
    found, having = _found(site)
    return tuple(damage for damage in having.values() if damage.of(found))


def damage_of(site: str, name: str) -> Damage:
    """The damage of a name at a site."""
    return _found(site)[1][name]


def senseless(site: Site, condition: str, damage: Damage) -> bool:
    """Whether no call meets the condition, or none that does is changed by the damage."""
    return damage.changes_none(site, condition) or contradictory([condition, *damage.conditions(site)], site.name)


def faults(count: int, seed: int, site: str = "", of: str = "kernels") -> list[Fault]:
    """So many different faults of a set, of one, two and three facts in turn; the same for the same seed everywhere.  A ValueError
    if there are not so many."""
    if site and site not in TABLES[of]:
        raise ValueError(f"no site {site!r} in {of}; {_close(site, TABLES[of])}")
    # The kernels' faults are those that were drawn before there were other sets.
    draws = Random(f"drawn faults {seed} {site}" + (f" {of}" if of != "kernels" else ""))
    found: dict[Fault, None] = {}
    for _ in range(200 * count):
        if len(found) == count:
            break
        chosen = site or draws.choices(list(WEIGHTS[of]), list(WEIGHTS[of].values()))[0]
        fault = drawn(draws, len(found) % 3 + 1, chosen, of)
        if fault is not None:
            found[fault] = None
    if len(found) < count:
        raise ValueError(f"{site or 'the table'} has fewer than {count} faults")
    return list(found)


def drawn(draws: Random, order: int, site: str, of: str) -> Fault | None:
    """A fault on ``order`` facts of a site of a set; None if they contradict each other or the damage changes nothing."""
    left, texts = list(TABLES[of][site]), list[str]()
    if order > len({each.fact for each in left}):
        return None
    for _ in range(order):
        (term,) = draws.choices(left, [term.weight for term in left])
        left = [each for each in left if each.fact != term.fact]
        texts.append(draws.choice(term.texts))
    damage = draws.choice(damages(site))
    fault = Fault(site, " & ".join(texts), damage.name)
    return None if contradictory(texts) or senseless(site_of(site), fault.condition, damage) else fault


def wilson(killed: int, total: int) -> tuple[float, float]:
    """Wilson's interval of a share, 95 %; of nothing it is everything."""
    if not total:
        return 0.0, 1.0
    share, z = killed / total, 1.959963984540054
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def always(sites: Sequence[str]) -> Iterator[Fault]:
    """For each site the fault that hits every call; where it raises, all are to be killed."""
    for name in sites:
        yield Fault(name, "earlier>=0", damages(name)[0].name)
