"""Which cases an item runs: those that meet the obligations, enumerated ones, all or some, and decks of random ones."""

import itertools
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

from embcheck.core import deck, stream
from embcheck.core.item import DECK, ENGINES, Item, Profile
from embcheck.core.law import Family
from embcheck.core.space import Space
from embcheck.engine.obligations import obliging_cases
from embcheck.modes.mode import MODES

T = TypeVar("T")

#: A family's modes after its first run the same kernels behind the same call: they take one of so many of its cases.
_AFTER_FIRST = 4
#: A mode beyond the family's own takes one of so many cases (of its cost): it runs the same kernels behind another call.
FURTHER = 40


def gaps(mean: float, seed: int) -> Iterator[int]:
    """Ascending positions, one of ``mean`` on average; all of them if that is one.

    The gaps are drawn: equal ones would fall in step with an axis, whose other values would never be run.
    """
    largest = round(2 * mean - 1)
    if largest <= 1:
        return itertools.count()
    draws = stream.Stream(seed)
    return itertools.accumulate(
        (draws.between(1, largest) for _ in itertools.count()), initial=draws.between(0, largest - 1)
    )


def thinned(found: Iterable[T], mean: float, seed: int) -> Iterator[T]:
    """One of ``mean`` on average."""
    wanted = gaps(mean, seed)
    following = next(wanted)
    for position, each in enumerate(found):
        if position == following:
            yield each
            following = next(wanted)


def cases(family: Family, item: Item, profile: Profile, seed: int) -> Iterator[Any]:
    """The cases of an enumerating item, in order."""
    further = item.mode not in family.modes
    if further and item.parts > 1:
        return sliced(family, item, profile, seed)
    enumerated = MODES[item.mode].cases
    if enumerated is not None:
        return enumerated(family, item, profile, seed)
    if further:
        return sampled(family, item, profile, seed)
    space = family.space
    first = item.mode == family.modes[0]
    choice = deck.chosen(family, item.mode, profile.deck) if profile.deck else None
    if choice is not None:
        found = _chosen(choice, family, item, seed, first=first)
        return itertools.islice(found, item.part, None, item.parts)
    # Every part goes through the same cases and takes its share of them.
    chosen = stream.derive(seed, family.name, item.mode, item.engine)
    mean = profile.stride * (1 if first else _AFTER_FIRST) * (family.stride if profile.name == "full" else 1)
    match item.engine:
        case "scope":
            found = _small(family, mean, chosen, first=first, sparing=profile.sparing)
        case "product":
            strength = min(profile.strength, space.strength, 3 if first else 2)
            # A cover of strength 3 has many rows without any to spare; one of strength 1 is asked for where cases are dear.
            extra_rows = profile.extra_rows // (strength - 1) if first and strength > 1 else 0
            complete = first and not profile.sparing
            covers = (
                space.cover(strength, stream.derive(seed, family.name, item.mode, turn), extra_rows, complete=complete)
                for turn in range(profile.covers)
            )
            covering: Iterator[Any] = itertools.chain.from_iterable(covers)
            if not first and profile.sparing:
                covering = thinned(covering, _AFTER_FIRST, stream.derive(chosen, "cover"))
            # What gate aims at, since a longer run has what a shorter one has, and what is chosen for longer runs.
            aims = () if profile.deck else deck.aimed_cases(family, item.mode)
            found = itertools.chain(space.product(gaps(mean, chosen)), covering, aims)
        case _:
            raise KeyError(f"no engine {item.engine!r}; there are {', '.join(ENGINES)}")
    return itertools.islice(found, item.part, None, item.parts)


def _chosen(choice: deck.Choice, family: Family, item: Item, seed: int, *, first: bool) -> Iterator[Any]:
    """What was chosen, once and for all seeds; the first mode runs before it what the laws oblige."""
    if item.engine == "product":
        return choice.product_cases(family.space, family.name, seed)
    obliging = list(obliging_cases(family).values()) if first else []
    already = set(obliging)
    return itertools.chain(obliging, (case for case in choice.small_cases(family.space) if case not in already))


def _small(family: Family, mean: float, seed: int, *, first: bool, sparing: bool) -> Iterator[Any]:
    """The landmarks, then the small cases; the first mode runs before them the cases that meet what the laws oblige, which
    no seed decides, and if it is ``sparing`` only some of the others."""
    fixed_cases: list[Any] = list(filter(None, map(family.space.repair, family.space.fixed_cases())))
    small = family.space.scope()
    place = stream.derive(seed, "fixed_cases")
    if not first:
        coarse = mean if sparing else _AFTER_FIRST
        return itertools.chain(thinned(fixed_cases, coarse, place), thinned(small, mean, seed))
    obliging = obliging_cases(family)
    others = itertools.chain(
        thinned(enumerate(fixed_cases), mean if sparing else 1, place),
        thinned(enumerate(small, len(fixed_cases)), mean, seed),
    )
    return itertools.chain(obliging.values(), (case for position, case in others if position not in obliging))


def sampled(family: Family, item: Item, profile: Profile, seed: int) -> Iterator[Any]:
    """The cases of a mode beyond the family's own: one of so many of the first mode's.

    Of a user's subject those by which laws about refusals are obliged come first, of which there would be none, then one after
    each earlier call; the full product, which makes none, is left out.
    """
    every = _all_cases(family.space, item.engine, family.name, seed, flags=family.of is None)
    mean = profile.further * family.stride * FURTHER * MODES[item.mode].cost
    first: list[Any] = []
    if family.of is not None and item.engine == "product":
        told = [case for case in every if "history" in case._fields and min(case.num_embeddings, case.numel) > 1]
        pasts = {case.history: case for case in reversed(told) if case.history != "fresh"}
        first = [*filter(family.refused, obliging_cases(family).values()), *pasts.values()]
    for case in itertools.chain(first, thinned(every, mean, stream.derive(seed, item.label))):
        # A copy, since a case keeps what it once expanded to.
        yield type(case)(*case)


def sliced(family: Family, item: Item, profile: Profile, seed: int) -> Iterator[Any]:
    """A slice of a mode beyond the family's own: of the cases that were chosen for its first mode one of so many as the item
    has parts; none if nothing was chosen."""
    choice = deck.chosen(family, family.modes[0], profile.deck or "gate") or deck.Choice()
    found = itertools.chain(choice.small_cases(family.space), choice.product_cases(family.space, family.name, seed))
    # A graph is made for one size of the table, which several calls change.
    of_one_size = (case for case in found if "several" not in case)
    # Like the deck itself, the slice is the same for every seed.
    return thinned(of_one_size, item.parts, stream.derive(0, item.label))


@lru_cache(maxsize=16)  # for one mode after the other
def _all_cases(space: Space, engine: str, name: str, seed: int, *, flags: bool) -> list[Any]:
    """What an engine enumerates; with ``flags`` the full product of the flags, too."""
    if engine == "scope":
        return [*space.small()]
    cover = space.cover(min(2, space.strength), stream.derive(seed, name))
    return [*(space.product() if flags else ()), *cover]


def aimed(family: Family, item: Item, profile: Profile, seed: int) -> Iterator[Any]:
    """Cases that are aimed at thresholds, of the family's first mode: the same for the same seed, whatever their parts."""
    space = family.space
    if space.aim is None or item.mode != family.modes[0]:
        return
    for position in range(item.part, round(profile.aimed * space.aims), item.parts):
        case = deck.aimed_at(space, family.name, position, seed)
        if case is not None:
            yield case


def batches(family: Family, item: Item, profile: Profile) -> tuple[int, int]:
    """How many decks of random cases an item runs, and how many cases each has."""
    budget = profile.random / family.cost / (1 if item.mode == family.modes[0] else _AFTER_FIRST)
    if family.space.aim is not None and profile.sparing:
        budget /= 2  # what is aimed tells more
    if item.mode not in family.modes:
        budget = profile.random / family.cost / (FURTHER * MODES[item.mode].cost)
    count = max(1, round(budget / DECK / item.parts))
    return count, min(DECK, max(1, round(budget / item.parts / count)))
