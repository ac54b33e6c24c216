"""Chooses the cases that *quick* and *gate* enumerate, and what is aimed beside them: ``python -m selfcheck.deck`` makes
embcheck/core/deck.json anew, in the order of `AIMED`.  With families it chooses what is enumerated of these, as
many cases as they have, with ``--only`` what one kind of aimed cases has; all else stays as it is.

A case earns its place by what it adds for what it costs: faults that it kills, laws that these break, and combinations of two
axes' values.  Half of the faults by hand take part, and drawn faults of a seed of their own; the other half, and faults of
other seeds, measure the choice.  *quick* is chosen first, and *gate* adds to it.
"""

import hashlib
import itertools
import math
import multiprocessing
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer

from embcheck.core.deck import Choice, enumerated, forget, keep, keep_aimed
from embcheck.core.facts import closest
from embcheck.core.processes import end_with_parent
from embcheck.core.tiers import CORE
from embcheck.subject.collect import load_families
from selfcheck import reach, reach_entries, reach_graphs
from selfcheck.by_hand import Worker, in_slots
from selfcheck.calls import Hits, add, changed
from selfcheck.candidates import shipped
from selfcheck.drawn import faults as drawn_faults
from selfcheck.fault import load_faults
from selfcheck.judging import CORE as DRAWN
from selfcheck.pool import Measured, candidates, killers, measure

#: Seconds of CPU time for what is enumerated of core and of extended families, what every profile obliges included.
BUDGETS = {"quick": (5.5, 3.8), "gate": (20.0, 10.0)}
#: Drawn faults that take part, and their seed.
_DRAWN, _SEED = 3000, 20261123
#: What the first, second and third case that kills a fault are worth, by kind of fault, and all pairs of a family together;
#: a second and a third case with a pair are worth a third and a ninth of the first.
_KILLS = {"hand": (2.0, 0.8, 0.4), "law": (2.0, 0.5, 0.0), "drawn": (0.5, 0.25, 0.12)}
_PAIRS = {True: 96.0, False: 24.0}
#: No case is cheaper than this, seconds.
_LEAST = 0.0003

#: The kinds of aimed cases in the order in which they are chosen, each beside those before it, with what chooses them.
AIMED: Mapping[str, Callable[..., reach.Aimed]] = {
    "kernels": reach.aimed,
    "entries": partial(reach_entries.aimed, reach_entries.ENTERED),
    "graphs": reach_graphs.aimed,
    "steps": partial(reach_entries.aimed, reach_entries.STEPPED),
    "early": partial(reach_entries.aimed, reach_entries.EARLY),
}

Feature = Hashable


def takes_part(fault: str) -> bool:
    """Whether a fault by hand takes part in the choice; the others measure it."""
    return hashlib.sha256(fault.encode()).digest()[0] % 2 == 0


@dataclass
class Matrix:
    """For each case, by family and position, what it does for the choice, and what that is worth at the first, second … time."""

    features: dict[tuple[str, int], list[Feature]] = field(default_factory=lambda: defaultdict(list))
    worth: dict[Feature, tuple[float, ...]] = field(default_factory=dict)

    def add(self, key: tuple[str, int], feature: Feature, worth: tuple[float, ...]) -> None:
        """That a case has a feature."""
        self.features[key].append(feature)
        self.worth[feature] = worth


def matrix(names: list[str], jobs: int) -> tuple[Matrix, dict[str, Measured]]:
    """Measures the pools and runs the faults that take part on them."""
    measured: dict[str, Measured] = {}

    def clean(worker: Worker, name: str) -> None:
        measured[name] = worker.asked(600.0, measure, name)
        _say(f"{name}: {sum(measured[name].seconds.values()):.1f} s")

    in_slots(jobs, names, clean)
    found, ran = Matrix(), dict[str, dict[int, frozenset[str]]]()
    every = load_faults()
    wanted = [f for f in every.values() if f.family in names and not (f.control or f.modes) and takes_part(f.name)]

    def run(worker: Worker, name: str) -> None:
        try:
            ran[name] = worker.asked(300.0, killers, name, measured[every[name].family])
        except Exception as error:  # it ended its process, or hangs
            _say(f"{name}: {error!r}")
        if len(ran) % 20 == 0:
            _say(f"{len(ran)} of {len(wanted)} faults")

    in_slots(jobs, [fault.name for fault in sorted(wanted, key=lambda f: f.family)], run)
    for name, kills in sorted(ran.items()):
        for position, laws in kills.items():
            key = every[name].family, position
            found.add(key, ("hand", name), _KILLS["hand"])
            for law in laws:
                found.add(key, ("law", law), _KILLS["law"])
    core = [name for name in names if name in DRAWN]
    # Drawn faults of the kernels: a case that one changes nearly always kills it.
    for key, hits in (_apart(_changed, core, measured, jobs) if core else {}).items():
        for fault in hits.tolist():
            found.add(key, ("drawn", fault), _KILLS["drawn"])
    _pairs(found, names, measured)
    return found, measured


def _apart(work: Callable[..., Any], *given: Any) -> Any:
    """What is made in a process of its own, whose forks inherit no thread of OpenMP, for which they would wait."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _with_one_thread) as pool:
        return pool.submit(work, *given).result()


def _with_one_thread() -> None:
    import torch
    import torch._dynamo

    end_with_parent()
    torch.set_num_threads(1)


def _changed(names: list[str], measured: Mapping[str, Measured], jobs: int) -> dict[tuple[str, int], Hits]:
    """Runs in a worker: the drawn faults that change each case."""
    judged = {key: each for key, (_, each) in candidates(names, measured).items() if each is not None}
    seen = changed([*judged.values()], drawn_faults(_DRAWN, _SEED), shipped(), jobs)
    return {key: each.hits for key, each in zip(judged, seen, strict=True)}


def _built(name: str, jobs: int) -> reach.Aimed:
    """Runs in a worker: the aimed cases of a kind, chosen beside what is enumerated and the kinds before it."""
    forget(list(AIMED)[list(AIMED).index(name) :])
    return AIMED[name](jobs, shipped(), _say)


def _pairs(found: Matrix, names: list[str], measured: Mapping[str, Measured]) -> None:
    for name in names:
        met: dict[tuple[str, int], list[Feature]] = {}
        for key, (place, _) in candidates([name], measured).items():
            values = [(axis, repr(value)) for axis, value in place.case.axes.items() if axis != "seed"]
            met[key] = [(name, place.mode, hash(pair)) for pair in itertools.combinations(values, 2)]
        count = Counter(itertools.chain.from_iterable(met.values()))
        # What only one case of the pool has is a value of its own, such as an exact list of indices.
        shared = {pair for pair, times in count.items() if times > 1}
        whole = _PAIRS[name in CORE] / max(1, len(shared))
        worth = (whole, whole / 3, whole / 9)
        for key, pairs in met.items():
            for pair in pairs:
                if pair in shared:
                    found.add(key, pair, worth)


def choose(
    found: Matrix,
    measured: Mapping[str, Measured],
    names: Iterable[str],
    budget: float,
    taken: set[tuple[str, int]],
    most: float = math.inf,
) -> float:
    """Adds cases of some families to those taken, until a budget is spent or so many are added; what is spent on these families."""
    keys = sorted((name, position) for name in names for position in measured[name].seconds)
    costs = [max(_LEAST, measured[name].seconds[position]) for name, position in keys]
    places = {feature: place for place, feature in enumerate(found.worth)}
    hits = [np.array([places[feature] for feature in found.features[key]], np.int32) for key in keys]
    already = [position for position, key in enumerate(keys) if key in taken]
    had = np.zeros(len(places), np.int64)
    for position in already:
        np.add.at(had, hits[position], 1)
    added = add(costs, hits, had, budget, list(found.worth.values()), already, most)
    taken.update(keys[position] for position in added)
    return sum(costs[position] for position in (*already, *added))


def chosen(
    names: list[str], found: Matrix, measured: Mapping[str, Measured]
) -> dict[str, dict[str, dict[str, Choice]]]:
    """What each tier runs, by family and mode.

    The whole spends its budgets.  Of some families each has as many cases as it had, which is what the whole gave it; one of which
    nothing is chosen yet has its share of the budget.
    """
    places = {key: place for key, (place, _) in candidates(names, measured).items()}
    taken = {key for key, place in places.items() if place.part == "obliging"}
    made: dict[tuple[str, str, str], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    every = {core: [name for name in load_families() if (name in CORE) == core] for core in (True, False)}
    for tier, budgets in BUDGETS.items():
        before = set(taken)
        for budget, (core, families) in zip(budgets, every.items(), strict=True):
            if set(names).issuperset(families):
                spent = choose(found, measured, families, budget, taken)
                _say(f"{tier} {'core' if core else 'extended'}: {spent:.1f} s, {len(taken)} cases in all")
                continue
            for name in [each for each in families if each in names]:
                had = enumerated(name, tier)
                limits = (budget / len(families), taken) if had is None else (math.inf, taken, had)
                spent = choose(found, measured, [name], *limits)
                _say(f"{tier} {name}: {spent:.1f} s")
        for key in taken - before:
            place = places[key]
            made[key[0], place.mode, tier][place.part].append(place.where)

    def choice(*key: str) -> Choice:
        return Choice(**{part: tuple(where) for part, where in made[key].items()})  # type: ignore[index]

    return {
        name: {mode: {tier: choice(name, mode, tier) for tier in BUDGETS} for mode in load_families()[name].modes}
        for name in names
    }


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def main(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="FAMILY", help="Families, of which what is enumerated is chosen.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="KIND", help=f"Aimed cases alone: {', '.join(AIMED)}.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Worker processes.")] = 2,
) -> None:
    """Chooses the cases of all profiles anew, or some of them, and writes them; what else was chosen stays."""
    families = load_families()
    for given, known in ((names, families), (only, AIMED)):
        for name in given or ():
            if name not in known:
                raise typer.BadParameter(f"no {name!r}; {closest(name, known) or 'there are ' + ', '.join(known)}")
    if names or not only:
        wanted = names or list(families)
        keep(chosen(wanted, *matrix(wanted, jobs)), families)
    for name in AIMED if not (names or only) else only or ():
        keep_aimed(name, _apart(_built, name, jobs))


if __name__ == "__main__":
    typer.run(main)
