"""Covers really cover, products are complete, reductions only ever simplify."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck.core import stream
from embcheck.core.case import LookupCase
from embcheck.core.space import Space, covering_rows
from embcheck.core.stream import Stream
from embcheck.core.tiers import CORE
from embcheck.engine.reduce import size
from embcheck.families.lookup import cases as table
from embcheck.subject.collect import load_families

AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 8),
    "embedding_dim": (2, 1),
    "padding_idx": (None, 0, -1),
    "sparse": (False, True),
    "dtype": ("float32", "bfloat16"),
}
SPACE = Space(LookupCase, AXES, flags=("padding_idx", "sparse", "dtype"), base={"num_embeddings": 8})


@pytest.mark.parametrize("strength", [1, 2, 3])
@settings(deadline=None, derandomize=True, max_examples=40)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), seed=st.integers(0, 1 << 30))
def test_cover_has_every_combination(strength: int, sizes: list[int], seed: int) -> None:
    rows = covering_rows(sizes, strength, seed).tolist()
    assert all(0 <= k < length for row in rows for k, length in zip(row, sizes, strict=True))
    for group in itertools.combinations(range(len(sizes)), min(strength, len(sizes))):
        wanted = set(itertools.product(*(range(sizes[axis]) for axis in group)))
        assert {tuple(row[axis] for axis in group) for row in rows} == wanted


def test_a_cover_is_decided_by_its_seed_and_not_the_product() -> None:
    first = covering_rows([4, 3, 5, 2], 2, 7).tolist()
    assert first == covering_rows([4, 3, 5, 2], 2, 7).tolist() != covering_rows([4, 3, 5, 2], 2, 8).tolist()
    assert len(covering_rows([7] * 10, 2, 0)) < 12 * 49
    assert len(covering_rows([7] * 10, 3, 0)) < 12 * 343 < 7**10


def test_cover_gives_cases_with_seeds_of_their_own() -> None:
    cases = list(SPACE.cover(2, 0))
    assert [case.seed for case in cases] == list(range(len(cases)))
    for a, b in itertools.combinations(AXES, 2):
        assert {(case.axes[a], case.axes[b]) for case in cases} == set(itertools.product(AXES[a], AXES[b]))


def test_product_is_the_full_one_on_the_base() -> None:
    cases = list(SPACE.product())
    assert len(cases) == len(set(cases)) == 3 * 2 * 2
    assert {case.num_embeddings for case in cases} == {8}
    assert {case.embedding_dim for case in cases} == {2}


def test_canon_may_change_and_drop() -> None:
    def repair(case: LookupCase) -> LookupCase | None:
        return None if case.sparse else case.but(dtype="float64")

    space = Space(LookupCase, AXES, repair, flags=SPACE.flags)
    for cases in (list(space.product()), list(space.cover(1, 0))):
        assert cases
        assert all(case.dtype == "float64" and not case.sparse for case in cases)
    assert all(not simpler.sparse for simpler in space.reductions(LookupCase(8, 1, dtype="float64")))


def test_random_draws_from_the_axes() -> None:
    draws = stream.Stream(0)
    cases = [SPACE.random(draws) for _ in range(200)]
    assert all({case.axes[axis] for case in cases} == set(values) for axis, values in AXES.items())
    assert cases == [SPACE.random(again) for again in [stream.Stream(0)] for _ in range(200)]
    space = Space(LookupCase, AXES, draw=lambda draws: LookupCase(draws.between(100, 200), 1))
    assert 100 <= space.random(stream.Stream(0)).num_embeddings <= 200, "or as it is told to"


def steps(case: Any, space: Space) -> Iterator[Any]:
    """Greedy descent that accepts whatever is smaller, as the reducer does when everything fails."""
    while True:
        case = next((c for c in space.reductions(case) if size(c) < size(case)), None)
        if case is None:
            return
        yield case


def test_reductions_move_axes_towards_their_first_values() -> None:
    start = LookupCase(8, 1, padding_idx=-1, dtype="bfloat16", seed=5)
    found = list(SPACE.reductions(start))
    assert start not in found
    for simpler in found:
        (changed,) = [axis for axis, value in simpler.axes.items() if start.axes[axis] != value]
        if changed == "seed":
            assert simpler.seed == 0
        else:
            assert AXES[changed].index(simpler.axes[changed]) < AXES[changed].index(start.axes[changed])
    assert list(SPACE.reductions(LookupCase(3, 2))) == []
    beyond = {case.num_embeddings for case in SPACE.reductions(LookupCase(4097, 2))}
    assert beyond == set(AXES["num_embeddings"]), "a value outside the axis may become any of them"


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 1 << 30))
def test_reductions_of_tables_terminate_at_the_smallest(seed: int) -> None:
    space = Space(LookupCase, table.AXES, table.repair, smaller=table.smaller_tables)
    case = table.repair(table.threshold_case(stream.Stream(seed), table.AXES))
    if case is None:
        return
    way = [case, *itertools.islice(steps(case, space), 400)]
    assert len(way) < 400
    assert all(size(b) < size(a) for a, b in itertools.pairwise(way))
    last = way[-1]
    assert last.num_embeddings <= 1
    assert last.embedding_dim <= 1
    assert last.numel <= 1
    assert last.dtype == "float32"
    assert last.layout == last.index_layout == "contiguous"


FAMILIES = load_families()
#: Of each core family: pairs of two axes' values that the cover has, possible ones that it lacks, and impossible ones.
PAIRS = {
    "lookup": (4165, 7, 302),
    "one_hot": (1643, 6, 27),
    "gradient": (7469, 6, 436),
    "gradient_routes": (6981, 0, 421),
    "padding": (7034, 6, 402),
    "padding_row_training": (378, 2, 49),
    "conversion": (9325, 37, 312),
    "tied_training": (20739, 584, 4250),
    "tie_preservation": (3987, 22, 209),
    "tie_export": (315, 0, 1),
    "embedding_bag": (13414, 170, 643),
    "max_norm": (9766, 70, 538),
    "construction": (2457, 4, 232),
    "default_init": (89, 0, 0),
}
#: Cases that are tried before a pair counts as impossible.
TRIES = 24


def pairs_of(space: Space, case: Any) -> Iterator[Any]:
    told = [(name, repr(getattr(case, name))) for name in space.axes]
    return itertools.combinations(told, 2)


def possible(space: Space, pair: Any) -> bool:
    """Whether some case has both values, the other axes as they come."""
    values = {name: next(v for v in space.axes[name] if repr(v) == told) for name, told in pair}
    draws = Stream(len(repr(pair)))
    for turn in range(TRIES):
        other = {name: axis[0] if turn == 0 else draws.choice(axis) for name, axis in space.axes.items()}
        case = space.repair(space.case_type(**{**other, **values}))
        if case is not None and all(repr(getattr(case, name)) == told for name, told in pair):
            return True
    return False


def counted(space: Space) -> tuple[int, int, int]:
    named = [[(name, repr(value)) for value in values] for name, values in space.axes.items()]
    declared = {pair for one, other in itertools.combinations(named, 2) for pair in itertools.product(one, other)}
    reached = {pair for case in space.cover(2, 0) for pair in pairs_of(space, case)}
    lacked = [possible(space, pair) for pair in sorted(declared - reached)]
    return len(declared & reached), sum(lacked), len(lacked) - sum(lacked)


@pytest.mark.parametrize("name", [name for name in CORE if name != "tutorial_claims"])
def test_the_cover_has_as_many_pairs_as_are_told(name: str) -> None:
    assert counted(FAMILIES[name].space) == PAIRS[name]
