"""Covers really cover, products are complete, reductions only ever simplify; the reducer finds the smallest failing case."""

import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embcheck.families.tie_preservation.space as family
from embcheck.core import stream
from embcheck.core.case import LookupCase
from embcheck.core.space import Space, covering_rows
from embcheck.core.stream import Stream
from embcheck.core.tiers import CORE
from embcheck.engine.reduce import reduce_case, size
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.embedding_bag.space import smaller
from embcheck.families.gradient import routes
from embcheck.families.lookup import cases as lookup
from embcheck.families.tie_preservation.cases import TiePreservationCase
from embcheck.families.tie_preservation.operations import OPERATIONS
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
    rows = covering_rows(tuple(sizes), strength, seed).tolist()
    assert all(0 <= k < length for row in rows for k, length in zip(row, sizes, strict=True))
    for group in itertools.combinations(range(len(sizes)), min(strength, len(sizes))):
        wanted = set(itertools.product(*(range(sizes[axis]) for axis in group)))
        assert {tuple(row[axis] for axis in group) for row in rows} == wanted


def test_a_cover_is_decided_by_its_seed_and_not_the_product() -> None:
    first = covering_rows((4, 3, 5, 2), 2, 7).tolist()
    assert first == covering_rows.__wrapped__((4, 3, 5, 2), 2, 7).tolist()
    assert first != covering_rows((4, 3, 5, 2), 2, 8).tolist()
    assert len(covering_rows((7,) * 10, 2, 0)) < 12 * 49
    assert len(covering_rows((7,) * 10, 3, 0)) < 12 * 343 < 7**10
    cases = list(SPACE.cover(2, 0))
    assert [case.seed for case in cases] == list(range(len(cases)))


def test_product_is_the_full_one_on_the_base() -> None:
    cases = list(SPACE.product())
    assert len(cases) == len(set(cases)) == 3 * 2 * 2
    assert {case.num_embeddings for case in cases} == {8}
    assert {case.embedding_dim for case in cases} == {2}


def test_canon_may_change_and_drop() -> None:
    def repair(case: LookupCase) -> LookupCase | None:
        return None if case.sparse else case.but(dtype="float64")

    space = Space(LookupCase, AXES, repair, flags=SPACE.flags)
    for found in (list(space.product()), list(space.cover(1, 0))):
        assert found
        assert all(case.dtype == "float64" and not case.sparse for case in found)
    assert all(not simpler.sparse for simpler in space.reductions(LookupCase(8, 1, dtype="float64")))


def test_random_draws_from_the_axes() -> None:
    draws = stream.Stream(0)
    cases = [SPACE.random(draws) for _ in range(200)]
    assert all({case.axes[axis] for case in cases} == set(values) for axis, values in AXES.items())
    assert cases == [SPACE.random(again) for again in [stream.Stream(0)] for _ in range(200)]
    space = Space(LookupCase, AXES, draw=lambda draws: LookupCase(draws.between(100, 200), 1))
    assert 100 <= space.random(stream.Stream(0)).num_embeddings <= 200, "or as it is told to"


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
    without = Space(LookupCase, {"dtype": ("float32",)})
    assert list(without.reductions(LookupCase(3, 2, seed=5, threads=2))) == [
        LookupCase(3, 2, threads=2),
        LookupCase(3, 2, seed=5),
    ], "nor do they stay that are no axes"
    beyond = {case.num_embeddings for case in SPACE.reductions(LookupCase(4097, 2))}
    assert beyond == set(AXES["num_embeddings"]), "a value outside the axis may become any of them"


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 1 << 30))
def test_reductions_of_tables_terminate_at_the_smallest(seed: int) -> None:
    space = Space(LookupCase, lookup.AXES, lookup.repair, smaller=lookup.smaller_tables)
    case = lookup.repair(lookup.threshold_case(stream.Stream(seed), lookup.AXES))
    if case is None:
        return
    last, tried = reduce_case(case, space, lambda smaller: True, seconds=600.0)
    assert tried < 400
    assert last.num_embeddings <= 1
    assert last.embedding_dim <= 1
    assert last.numel <= 1
    assert last.dtype == "float32"
    assert last.layout == last.index_layout == "contiguous"


@pytest.mark.parametrize("indices", ["uniform", (0, 1, 2, 0, 1, 2)])
def test_fewer_tokens_of_the_same_rank_are_tried(indices: Any) -> None:
    space = Space(LookupCase, lookup.AXES, lookup.repair, smaller=lookup.smaller_tables)
    case = LookupCase(3, 2, indices, (2, 3))
    last, _ = reduce_case(case, space, lambda less: len(less.shape) == 2 and less.numel > 0, seconds=600.0)
    assert last.shape == (1, 1)


FAMILIES = load_families()
#: Of each family: pairs of two axes' values that the complete cover has, possible ones that it lacks, and impossible ones.
PAIRS = {
    "lookup": (4172, 0, 302),
    "one_hot": (1649, 0, 27),
    "gradient": (7475, 0, 436),
    "gradient_routes": (8900, 0, 497),
    "padding": (7040, 0, 402),
    "padding_row_training": (380, 0, 49),
    "conversion": (9509, 0, 306),
    "tied_training": (22181, 36, 4043),
    "tie_preservation": (4174, 0, 215),
    "tie_export": (315, 0, 1),
    "embedding_bag": (13587, 2, 638),
    "max_norm": (9859, 1, 514),
    "construction": (2736, 0, 244),
    "default_init": (89, 0, 0),
    "tutorial_claims": (778, 4, 570),
    "clip_average_scale": (7219, 2, 875),
    "dtensor": (1176, 1, 89),
    "dtypes_and_storage": (1547, 0, 56),
    "func_transforms": (7536, 0, 632),
    "half_precision_accumulation": (514, 0, 14),
    "initializers": (1778, 0, 264),
    "load_state_dict": (1565, 0, 64),
    "lr_scheduler": (2311, 0, 268),
    "module_traversal": (1201, 0, 78),
    "optimizer_state_dict": (678, 0, 13),
    "param_groups": (6840, 18, 2003),
    "parameter": (2465, 0, 2),
    "parametrizations": (884, 0, 137),
    "quantized_embedding": (762, 0, 12),
    "tied_head_loss": (2373, 0, 164),
}
#: Cases that are tried before a pair counts as impossible.
TRIES = 24


@lru_cache(maxsize=256)
def others(space: Space, seed: int) -> list[dict[str, Any]]:
    draws = Stream(seed)
    return [
        {name: axis[0] if turn == 0 else draws.choice(axis) for name, axis in space.axes.items()}
        for turn in range(TRIES)
    ]


def possible(space: Space, pair: Any) -> bool:
    """Whether some case has both values, the other axes as they come."""
    values = {name: next(v for v in space.axes[name] if repr(v) == told) for name, told in pair}
    for other in others(space, len(repr(pair))):
        case = space.repair(space.case_type(**{**other, **values}))
        if case is not None and all(repr(getattr(case, name)) == told for name, told in pair):
            return True
    return False


#: Of more pairs that a cover lacks it is told with --full alone which are possible: it takes seconds.
MANY = 1000


@pytest.mark.parametrize("name", PAIRS)
def test_the_cover_has_as_many_pairs_as_are_told(name: str, full: bool) -> None:
    if not (full or name in CORE):
        pytest.skip("with --full alone")
    space = FAMILIES[name].space
    named = [[(name, repr(value)) for value in values] for name, values in space.axes.items()]
    declared = {pair for one, other in itertools.combinations(named, 2) for pair in itertools.product(one, other)}
    told = ([(name, repr(getattr(case, name))) for name in space.axes] for case in space.cover(2, 0, complete=True))
    reached = {pair for values in told for pair in itertools.combinations(values, 2)}
    lacked = sorted(declared - reached)
    has, lacks, impossible = PAIRS[name]
    assert (len(declared & reached), len(lacked)) == (has, lacks + impossible)
    if full or len(lacked) < MANY:
        assert sum(possible(space, pair) for pair in lacked) == lacks


# -- the reducer ------------------------------------------------------------------------------------------------------

TABLES = Space(LookupCase, routes.AXES, routes.repair, smaller=lookup.smaller_tables)
LARGE = LookupCase(2001, 129, "unequal", (3, 1, 1025), 79, dtype="bfloat16", index_dtype="int32").but(
    layout="strided", upstream="ones", seed=77
)

SYNTHETIC: dict[str, tuple[Callable[[LookupCase], bool], Callable[[LookupCase], bool]]] = {
    "everything": (lambda c: True, lambda c: size(c) <= size(LookupCase(1, 1, (), (0,)))),
    "numel >= 769": (lambda c: c.numel >= 769, lambda c: c.numel == 769),
    "D > 16": (lambda c: c.embedding_dim > 16, lambda c: c.embedding_dim == 17),
    "both": (lambda c: c.numel >= 769 and c.embedding_dim > 16, lambda c: (c.numel, c.embedding_dim) == (769, 17)),
    "rows": (lambda c: c.num_embeddings > 1000, lambda c: c.num_embeddings == 1001),
    "padding hit": (lambda c: c.padding_row in {*c.tokens.tolist()}, lambda c: (c.num_embeddings, c.numel) == (1, 1)),
    "a row twice": (lambda c: c.max_count >= 2, lambda c: (c.num_embeddings, c.numel) == (1, 2)),
    "bfloat16 and int32": (
        lambda c: c.dtype == "bfloat16" and c.index_dtype == "int32",
        lambda c: c.numel == 0 and c.embedding_dim == 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SYNTHETIC)
def test_finds_the_known_minimum(name: str) -> None:
    fails, minimal = SYNTHETIC[name]
    assert fails(LARGE)
    found, tried = reduce_case(LARGE, TABLES, fails)
    assert fails(found)
    assert minimal(found), found
    assert tried <= 600
    # What the failure does not need stands at its simplest.
    if name in ("numel >= 769", "D > 16", "rows"):
        plain = LookupCase(found.num_embeddings, found.embedding_dim, found.indices, found.shape)
        assert found == plain


def test_every_candidate_is_smaller_and_tried_once() -> None:
    seen: list[LookupCase] = []

    def fails(case: LookupCase) -> bool:
        seen.append(case)
        return case.numel >= 100

    found, tried = reduce_case(LARGE, TABLES, fails)
    assert len(seen) == len(set(seen)) == tried
    assert all(size(case) < size(LARGE) for case in seen)
    accepted = [LARGE, *(case for case in seen if case.numel >= 100)]
    assert all(size(b) < size(a) for a, b in itertools.pairwise(accepted))
    assert accepted[-1] == found


@pytest.mark.parametrize("tries", [0, 1, 7])
def test_it_ends_with_its_tries_its_time_or_the_smallest_case(tries: int) -> None:
    calls: list[LookupCase] = []

    def fails(case: LookupCase) -> bool:
        calls.append(case)
        return True

    found, tried = reduce_case(LARGE, TABLES, fails, tries=tries)
    assert len(calls) == tried == tries
    assert found == ([LARGE, *calls])[-1], "what it has by then still fails"
    assert reduce_case(LARGE, TABLES, fails, seconds=-1.0) == (LARGE, 0)
    smallest = LookupCase(1, 1, shape=(0,))
    assert reduce_case(smallest, TABLES, lambda case: True)[0] == smallest


def test_an_endless_space_ends() -> None:
    """Reductions that lead back to a case that was refuted, or to a larger one, are not taken."""

    def around(case: LookupCase) -> Iterator[Any]:
        yield case.but(num_embeddings=case.num_embeddings % 5 + 1)

    space = Space(LookupCase, {}, smaller=around)
    found, tried = reduce_case(LookupCase(3, 2), space, lambda case: True)
    assert found == LookupCase(3, 2)
    assert tried == 0


def test_bags_that_are_written_out_lose_a_bag_or_a_token_and_tokens_become_zero() -> None:
    case = BagCase(3, 1, indices=(2, 1), bags=(2, 0), batch=False)
    proposed = {
        (each.bags, each.indices) for each in smaller(case) if (each.num_embeddings, each.embedding_dim) == (3, 1)
    }
    assert proposed == {((0,), ()), ((2,), (2, 1)), ((1, 0), (1,)), ((2, 0), (0, 1)), ((2, 0), (2, 0))}


def test_long_histories_have_every_operation() -> None:
    drawn = [family.draw(Stream(seed)) for seed in range(600)]
    long = [case for case in drawn if case.watched and len(case.history) > 4]
    assert max(len(case.history) for case in long) == family.STEPS
    assert {name for case in long for name in case.history} == set(OPERATIONS) - {"nothing"}


def test_a_history_gets_shorter_from_any_place() -> None:
    case = TiePreservationCase(prior="frozen", first="deepcopied", second="retied", later=("as_double", "pickled"))
    shorter = [found.history for found in family.shorter(case)]
    assert all(len(history) < len(case.history) for history in shorter)
    assert {history for history in shorter if len(history) == 4} == {
        (*case.history[:at], *case.history[at + 1 :]) for at in range(5)
    }
