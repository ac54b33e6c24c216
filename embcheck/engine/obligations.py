"""Which cases meet what the laws oblige: one list for each family, whatever the seed, the machine or the release.

The lists are kept beside this module, for choosing them takes as long as a tenth of *quick*; `python -m
embcheck.engine.obligations` writes them anew.
"""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from embcheck.core.axes import parse
from embcheck.core.facts import conditions, holds
from embcheck.core.files import write_whole
from embcheck.core.law import Family, Law, accepts
from embcheck.core.ledger import Entry
from embcheck.core.shipped_ledger import shipped
from embcheck.core.verdict import APPLIES

#: A law's name and a condition that some case it judges must meet.
Obligation = tuple[str, str]
#: How the kinds of difference begin after which nothing came out, and patterns of them.
_ENDS = ("raised", "does not compile", "crash", "hang", "*", "?")
#: The lists of torch's own families, each with what it was chosen for.
KEPT = Path(__file__).with_name("obliging.json")
#: Pairwise covers that are looked through for what neither small cases nor the product have.
_COVERS = 2


def enumerated(family: Family) -> Iterator[Any]:
    """What a family enumerates without a seed, in an order that never changes: its landmarks, its small cases, the
    product of its flags, and covers."""
    space = family.space
    yield from space.small()
    yield from space.product()
    for turn in range(_COVERS):
        yield from space.cover(min(2, space.strength), turn, 0)


def obliging_cases(family: Family) -> dict[int, Any]:
    """The list of a family: as it is kept, or if its laws, its axes or the ledger are others since, the first cases that there are.

    A subject has those that can be brought to it, of which none has a position among what is enumerated.
    """
    if family.of is not None:
        return {-place: case for place, case in enumerate(family.bring(obliging_cases(family.of).values()), 1)}
    kept = _kept().get(family.name, {})
    if kept.get("of") != digest_of(family):
        return choose(family)
    return {int(position): parse(case) for position, case in kept["cases"].items()}


def unmet(family: Family, law: Law) -> list[str]:
    """What a law obliges that no case meets which the family enumerates and the law judges."""
    judged = [c for c in obliging_cases(family).values() if law.refusal == family.refused(c) and law.when(c)]
    facts = [case.facts() for case in judged]
    return [each for each in sorted(law.must_cover) if not any(holds(each, of) for of in facts)]


@lru_cache(maxsize=1)
def _kept() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    return found


def digest_of(family: Family) -> str:
    """What tells a list apart from one that would be chosen otherwise, but for changes of the code."""
    laws = [(law.name, sorted(law.must_cover), law.refusal) for law in family.laws]
    regions = [
        (each.law, each.where, each.mode, each.kind, each.excluded, each.of_other_releases)
        for each in _concerning(family)
    ]
    told = repr((family.modes, family.typical, dict(family.space.axes), laws, regions))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def keep(families: dict[str, Family], path: Path = KEPT) -> None:
    """Chooses the lists anew and writes them."""
    lists = {
        name: {
            "of": digest_of(family),
            "cases": {str(n): repr(case) for n, case in choose(family, family.typical).items()},
        }
        for name, family in sorted(families.items())
    }
    write_whole(path, json.dumps(lists, indent=1, ensure_ascii=False) + "\n")


def choose(family: Family, typical: Sequence[str] = ()) -> dict[int, Any]:
    """For each law and each condition that it obliges the first case that meets it and lies in no region in which a shipped
    ledger entry might excuse this law, by its position among those that are `enumerated`; without those cases of which the
    others meet all that they do.

    If there is one it also meets the first condition of ``typical`` that any meets: to look for that takes up to a minute.
    What only cases in such regions meet is met by the first that is executed and accepted, or known not to be as the law
    says: it is judged, and an entry's region ends with a release; or by one that raises in other releases alone.
    """
    missing = {law.name: {APPLIES, *law.must_cover} for law in family.laws}
    concerning = _concerning(family)
    barring = [entry for entry in concerning if entry.excluded or _bars(entry, family)]
    regions = {law: [each for each in concerning if each.speaks_of(law) or each in barring] for law in missing}
    unjudged = [entry for entry in barring if not entry.of_other_releases]
    found: dict[int, Any] = {}
    known: dict[Obligation, tuple[int, Any]] = {}
    met: dict[int, set[Obligation]] = {}
    for wanted in (*typical, ""):
        before = {*found}
        for position, case in enumerate(enumerated(family)):
            if not missing:
                break
            for law, newly, facts in _newly(family, case, missing, wanted):
                if not any(entry.covers(facts) for entry in regions[law.name]):
                    found[position] = case
                    missing[law.name] -= newly
                    if not missing[law.name]:
                        del missing[law.name]
                elif not any(entry.covers(facts) for entry in unjudged):
                    for each in newly:
                        known.setdefault((law.name, each), (position, case))
        met |= {place: _met(family, case, regions) for place, case in found.items() if place not in before}
        _drop_spare(found, met, before)
    found.update(known[law, each] for law, lacking in missing.items() for each in lacking if (law, each) in known)
    return dict(sorted(found.items()))


def _met(family: Family, case: Any, regions: Mapping[str, Sequence[Entry]]) -> set[Obligation]:
    """All that a case meets of what the laws oblige, where no entry might excuse it."""
    facts, refused = case.facts(), family.refused(case)
    return {
        (law.name, each)
        for law in family.laws
        if law.refusal == refused and law.when(case) and not any(entry.covers(facts) for entry in regions[law.name])
        for each in (APPLIES, *law.must_cover)
        if _holds(each, facts)
    }


def _drop_spare(found: dict[int, Any], met: Mapping[int, set[Obligation]], before: Collection[int]) -> None:
    """Drops cases, but for those ``before``, of which each obligation that they meet is met by another, first those that meet
    least."""
    count = Counter(itertools.chain.from_iterable(met[place] for place in found))
    for place in sorted(found.keys() - before, key=lambda place: (len(met[place]), -place)):
        if all(count[each] > 1 for each in met[place]):
            del found[place]
            count.subtract(met[place])


def _newly(
    family: Family, case: Any, missing: Mapping[str, set[str]], wanted: str
) -> Iterator[tuple[Law, set[str], dict[str, Any]]]:
    """The laws that a case is asked of which is as ``wanted``, each with those of its missing obligations that the case meets, and
    the case's facts."""
    if wanted and not _may_hold(wanted, case):
        return
    refused, facts = family.refused(case), dict[str, Any]()
    for law in family.laws:
        if law.name not in missing or law.refusal != refused or not law.when(case):
            continue
        newly = {each for each in missing[law.name] if _may_hold(each, case)}
        facts = facts or (case.facts() if newly else {})
        if newly and not _holds(wanted, facts):
            return
        newly = {each for each in newly if _holds(each, facts)}
        if newly:
            yield law, newly, facts


def _holds(condition: str, facts: Mapping[str, Any]) -> bool:
    return condition in (APPLIES, "") or holds(condition, facts)


def _may_hold(condition: str, case: Any) -> bool:
    """Whether a case might meet a condition, as far as its axes tell: most facts have to be computed."""
    return all(
        each.fact not in case._fields or each.holds({each.fact: getattr(case, each.fact)})
        for each in conditions(condition)
    )


def _concerning(family: Family) -> list[Entry]:
    """The shipped entries that speak of a law of the family, of the mode in which the list is run and of the CPU, whatever torch
    they name."""
    laws, mode = family.laws, family.modes[0]
    return [each for each in shipped()[0] if any(each.concerns(law.name, mode, "cpu") for law in laws)]


def _bars(entry: Entry, family: Family) -> bool:
    """Whether an entry speaks of cases that raise where they must not, of which no other law is asked."""
    accepted = any(law.judge is accepts and entry.speaks_of(law.name) for law in family.laws)
    return accepted and any(kind.strip().startswith(_ENDS) for kind in entry.kind.split(","))


if __name__ == "__main__":
    from embcheck.subject.collect import load_families

    keep(load_families())
