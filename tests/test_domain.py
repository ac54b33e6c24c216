"""Domains: what lies outside is told, and what is asked instead lies inside."""

import itertools
from typing import Any

import pytest

from embcheck.core.case import LookupCase
from embcheck.core.declaration import declaration_of, declare
from embcheck.core.domain import USUAL, Domain
from embcheck.core.item import ENGINES, PROFILES, all_items, items_of
from embcheck.core.stream import Stream
from embcheck.engine.selection import cases
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.lookup import cases as table
from embcheck.families.max_norm.cases import MaxNormCase
from embcheck.families.tie_preservation.cases import TiePreservationCase
from embcheck.families.tied_training.cases import TiedTrainingCase
from embcheck.subject.activation import adapted
from embcheck.subject.collect import load_families
from embcheck.subject.examples import Bag, ScaledEmbedding, TokenEmbedding

load_families()
#: What is said where indices of 64 bits alone are declared, or tables of 32.
WIDE = "indices of int32: dtypes={'int64'} is declared"
NARROW = "tables of float16: dtypes={'float32'} is declared"


@pytest.mark.parametrize(
    ("given", "case", "reason"),
    [
        ({}, LookupCase(2, 0), "tables of no columns: min_dim=1 is the default"),
        ({}, LookupCase(0, 2, shape=(0,)), "tables of no rows: min_rows=1 is the default"),
        ({"min_dim": 0}, LookupCase(2, 0), None),
        ({"min_dim": 4, "min_rows": 2}, LookupCase(2, 3), "tables of 3 columns: min_dim=4 is declared"),
        ({"min_rows": 3}, TiedTrainingCase(shape=(1, 2)), "tables of 1 row: min_rows=3 is declared"),
        ({}, TiePreservationCase(embedding_dim=0), "tables of no columns: min_dim=1 is the default"),
        ({"ranks": {0, 2}}, LookupCase(2, 2, shape=(3,)), "indices of rank 1: ranks={0, 2} is declared"),
        ({"ranks": {0, 2}}, LookupCase(2, 2, shape=()), None),
        ({"ranks": {2}}, BagCase(2, 2), "indices of rank 1: ranks={2} is declared"),
        ({"ranks": {2}}, BagCase(2, 2, batch=True), None),
        ({"max_length": 4}, LookupCase(2, 2, shape=(2, 5)), "sequences of 5 tokens: max_length=4 is declared"),
        ({"max_length": 4, "ranks": {1}}, LookupCase(2, 2, shape=(4,)), None),
        ({"dtypes": {"float32"}}, LookupCase(2, 2, dtype="float16"), NARROW),
        ({"dtypes": {"float32"}}, LookupCase(2, 2, index_dtype="int32"), None),
        ({"dtypes": {"int64"}}, LookupCase(2, 2, index_dtype="int32"), WIDE),
        ({"dtypes": {"int64"}}, BagCase(2, 2, offset_dtype="int32"), WIDE),
        ({"dtypes": {"int64"}}, LookupCase(2, 2, dtype="float16"), None),
        ({"finite": True}, LookupCase(2, 2, values="special"), "NaN and infinity: finite=True is declared"),
        ({"finite": True}, MaxNormCase(2, 2, values="mixed"), "NaN and infinity: finite=True is declared"),
        ({"finite": True}, BagCase(2, 2, weights="special"), "NaN and infinity: finite=True is declared"),
    ],
)
def test_what_lies_outside_is_told(given: dict[str, Any], case: Any, reason: str | None) -> None:
    domain = Domain.declared(**given)
    assert domain.outside(case) == reason
    assert domain.outside(domain.narrowed(case)) is None
    assert reason is not None or domain.narrowed(case) == case


@pytest.mark.parametrize(
    "given", [{"ranks": {r}} for r in range(5)] + [{"ranks": {1, 3}, "min_dim": 2, "finite": True}, {"max_length": 3}]
)
def test_what_is_asked_instead_lies_inside(given: dict[str, Any]) -> None:
    domain = Domain.declared(**given)
    found = [
        domain.narrowed(case)
        for case in itertools.chain(table.shape_cases(), itertools.islice(table.small_cases(), 99))
    ]
    kept = [case for case in found if case is not None]
    assert len(kept) > 40
    assert all(domain.outside(case) is None for case in kept)
    assert all(len(case.indices) == case.numel for case in kept if isinstance(case.indices, tuple)), "the same tokens"


def test_padding_counted_from_the_other_end_is_the_row_of_the_table_that_is_asked() -> None:
    """A table that is too small is made larger first."""
    refuses = lambda flag, value: "counted from the front" if flag == "padding_idx" and (value or 0) < 0 else None  # noqa: E731
    domain = Domain(min_rows=5, flags=("padding_idx",), refuses=refuses)
    assert domain.narrowed(LookupCase(3, 2, padding_idx=-1)) == LookupCase(5, 2, padding_idx=4)


def test_modes_are_those_of_the_layer() -> None:
    evaluated = Domain.declared(modes={"eval"})
    assert evaluated.outside(LookupCase(2, 2), "train") == "the layer in train(): modes={'eval'} is declared"
    assert all(evaluated.outside(LookupCase(2, 2), mode) is None for mode in ("eager", "eval", "serving", "deepcopy"))
    assert Domain.declared(modes={"train"}).outside(LookupCase(2, 2), "serving") is not None
    assert USUAL.outside(LookupCase(2, 2), "train") is None


def test_earlier_calls_lie_inside_too() -> None:
    pairs, narrow = Domain.declared(ranks={2}), Domain.declared(dtypes={"int64"})
    case = LookupCase(2, 2, shape=(2, 2), history="longer_between", route="two_shapes")
    assert pairs.calm(case) == case.but(history="repeated", route="two_lookups")
    assert narrow.calm(case) == case
    assert Domain.declared(max_length=2).calm(case.but(history="twice_longer")).history == "twice_alike"
    assert narrow.calm(case.but(history="other_index_dtype")).history == "repeated"


@pytest.mark.parametrize("engine", ENGINES)
def test_every_case_of_a_subject_is_inside_or_counted(engine: str) -> None:
    """The product and the random engine, and what is reduced, stay inside; the scope tells what does not."""
    declared = declare(ranks={2}, dtypes={"float64", "int32"}, min_dim=2)(type("Pairs", (TokenEmbedding,), {}))
    domain = declaration_of(declared).domain
    with adapted(declared) as families:
        for name in ("lookup", "gradient"):
            family = families[name]
            item = items_of(family, engine, PROFILES["quick"])[0]
            if engine == "random":
                found = [case for seed in range(80) if (case := family.space.random(Stream(seed))) is not None]
            else:
                found = list(itertools.islice(cases(family, item, PROFILES["quick"], 0), 300))
            outside = [case for case in found if domain.outside(case) is not None]
            assert len(found) - len(outside) > 20
            assert bool(outside) == (engine == "scope")
            for case in found[:8]:
                assert all(domain.outside(smaller) is None for smaller in family.space.reductions(case))


@pytest.mark.parametrize("example", [TokenEmbedding, ScaledEmbedding, Bag])
def test_a_layer_s_life_is_asked_by_the_product_in_every_profile(example: Any) -> None:
    lives = {"eval", "deepcopy", "pickle", "state_dict"}
    with adapted(example) as families:
        for family in families.values():
            asked = {(item.engine, item.mode) for item in all_items(family, PROFILES["gate"], subject="here:Example")}
            assert {(engine, "eager") for engine in ENGINES} <= asked
            assert family.absent or {mode for engine, mode in asked if engine == "product"} >= lives
            assert not {mode for engine, mode in asked if engine != "product"} & lives
