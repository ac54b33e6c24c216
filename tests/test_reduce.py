"""The reducer finds the smallest failing case, and stops when it must."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import embcheck.families.tie_preservation.space as family
from embcheck.core.case import LookupCase
from embcheck.core.space import Space
from embcheck.core.stream import Stream
from embcheck.engine.reduce import reduce_case, size
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.embedding_bag.smaller import smaller
from embcheck.families.gradient import routes
from embcheck.families.lookup import cases
from embcheck.families.tie_preservation.cases import TiePreservationCase
from embcheck.families.tie_preservation.operations import OPERATIONS

SPACE = Space(LookupCase, routes.AXES, routes.repair, smaller=cases.smaller_tables)
LARGE = LookupCase(2001, 129, "unequal", (3, 1, 1025), 79, dtype="bfloat16", index_dtype="int32").but(
    layout="strided", upstream="ones", seed=77
)

SYNTHETIC: dict[str, tuple[Callable[[LookupCase], bool], Callable[[LookupCase], bool]]] = {
    "everything": (lambda c: True, lambda c: size(c) <= size(LookupCase(1, 1, (), (0,)))),
    "numel >= 769": (lambda c: c.numel >= 769, lambda c: c.numel == 769),
    "D > 16": (lambda c: c.embedding_dim > 16, lambda c: c.embedding_dim == 17),
    "both": (lambda c: c.numel >= 769 and c.embedding_dim > 16, lambda c: (c.numel, c.embedding_dim) == (769, 17)),
    "rows": (lambda c: c.num_embeddings > 1000, lambda c: c.num_embeddings == 1001),
    "padding hit": (
        lambda c: c.padding_row is not None and c.padding_row in c.tokens,
        lambda c: (c.num_embeddings, c.numel) == (1, 1),
    ),
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
    found, tried = reduce_case(LARGE, SPACE, fails)
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

    found, tried = reduce_case(LARGE, SPACE, fails)
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

    found, tried = reduce_case(LARGE, SPACE, fails, tries=tries)
    assert len(calls) == tried == tries
    assert found == ([LARGE, *calls])[-1], "what it has by then still fails"
    assert reduce_case(LARGE, SPACE, fails, seconds=-1.0) == (LARGE, 0)
    smallest = LookupCase(1, 1, shape=(0,))
    assert reduce_case(smallest, SPACE, lambda case: True)[0] == smallest


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
