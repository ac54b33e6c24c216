"""A case prints as the line that builds it, knows its facts, and stays within the exactness budget; one language asks for facts."""

import itertools
from typing import Any

import numpy as np
import pytest

from embcheck.core.axes import parse
from embcheck.core.case import LookupCase, coded
from embcheck.core.facts import UnknownFact, conditions, holds, named, require
from embcheck.core.format import FORMATS
from embcheck.core.layout import LAYOUTS
from embcheck.core.ledger import SHIPPED, check, read
from embcheck.core.pattern import PATTERNS, STRAYS
from embcheck.families.lookup import cases
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families

#: Two values of each axis that are not its default; an axis without an entry here makes a test fail.
OTHERS: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (1, 9), "embedding_dim": (0, 4), "indices": ("ends", (0, 1, 1)), "shape": ((), (3, 1)),
    "padding_idx": (0, -1), "scale_grad_by_freq": (True,), "sparse": (True,), "max_norm": (0.0, 1.5),
    "norm_type": (1.0, 0.1, float("inf")), "out_of_range": tuple(STRAYS), "dtype": ("float64", "bfloat16"),
    "index_dtype": ("int32",), "layout": LAYOUTS[1:], "index_layout": LAYOUTS[1:], "upstream_layout": LAYOUTS[1:],
    "values": ("small", "real", "special"), "upstream": ("ones", "real", "special"), "entry": ("module",),
    "route": ("vjp",), "history": ("repeated",), "requires_grad": (False,), "threads": (2,), "seed": (1, 1 << 40),
}  # fmt: skip


def test_every_axis_prints_and_parses() -> None:
    assert list(OTHERS) == list(LookupCase._fields)
    assert repr(LookupCase(3, 2, sparse=True)) == "LookupCase(num_embeddings=3, embedding_dim=2, sparse=True)"
    for axis, values in OTHERS.items():
        for value in values:
            case = LookupCase(3, 2).but(**{axis: value})
            assert parse(repr(case)) == case
            assert type(parse(repr(case))) is LookupCase


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a case"),
        ("3", "expected Name"),
        ("os.system('x')", "expected Name"),
        ("eval(x=1)", "no case type 'eval'"),
        ("LookupCase(num_embeddings=3, embedding_dim=2, color=1)", "no axis color"),
        ("LookupCase(num_embeddings=3)", "embedding_dim"),
        ("LookupCase(num_embeddings=3, embedding_dim=int('2'))", "malformed"),
        ("LookupCase(num_embeddings=3, embedding_dim=__import__('os').getpid())", "malformed"),
        ("LookupCase(num_embeddings=3, **{'embedding_dim': 2})", "no axis"),
        ("LookupCase(num_embeddings=3, num_embeddings=4, embedding_dim=2)", "repeated"),
    ],
)
def test_parse_refuses(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="not a case") as caught:
        parse(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_facts_against_their_definitions() -> None:
    for tokens in itertools.chain.from_iterable(itertools.product(range(3), repeat=n) for n in range(5)):
        for padding in (None, *range(-3, 3)):
            case = LookupCase(3, 2, tokens, (len(tokens),), padding)
            counts = [tokens.count(row) for row in range(3)]
            row = None if padding is None else range(3)[padding]
            facts = case.facts()
            assert (facts["numel"], facts["rank"], facts["max_count"]) == (len(tokens), 1, max(counts))
            assert facts["empty"] == (not tokens)
            assert (facts["padded"], facts["negative_padding"]) == (padding is not None, (padding or 0) < 0)
            assert facts["repeated"] == (max(counts) > 1)
            assert facts["unequal_counts"] == (len({count for count in counts if count}) > 1)
            assert facts["padding_hit"] == (row in tokens)
            assert facts["padding_absent"] == (padding is not None and row not in tokens)
            assert facts["all_padding"] == (set(tokens) == {row})
            assert facts["first_row"] == (0 in tokens)
            assert facts["last_row"] == (2 in tokens)
            assert facts["untouched_row"] == (0 in counts)
            assert case.counted.tolist() == [token != row for token in tokens]
            assert all(type(value) is not np.bool_ for value in facts.values()), "ledger regions compare types"


@pytest.mark.parametrize("out_of_range", STRAYS)
def test_a_stray_is_refused_without_expanding_counts(out_of_range: str) -> None:
    for rows, shape in itertools.product((1, 2, 5), ((), (1,), (2, 3))):
        case = LookupCase(rows, 2, shape=shape, out_of_range=out_of_range, seed=4)
        assert case.refused
        assert case.facts()["refused"]
        inside = [0 <= token < rows for token in case.tokens.tolist()]
        assert inside.count(False) == 1


def row_sums(case: LookupCase) -> np.ndarray[Any, Any]:
    """Σ|g| over the tokens of each row; what is not finite is left out."""
    sums = np.zeros((case.num_embeddings, case.embedding_dim))
    np.add.at(sums, case.tokens, np.nan_to_num(np.abs(case.upstream_values), nan=0, posinf=0))
    return sums


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_gradients_stay_within_the_budget(dtype: str, pattern: str) -> None:
    for upstream, numel, rows in itertools.product(("code", "ones", "special"), (0, 1, 3, 65, 300, 5000), (1, 3, 300)):
        case = cases.repair(
            LookupCase(rows, 3, pattern, (numel,), rows - 1, dtype=dtype, upstream=upstream, seed=numel)
        )
        assert case is not None
        sums = row_sums(case)
        assert not sums.size or sums.max() <= 2.0 ** (case.format.precision - 2)
        values = case.upstream_values
        finite = values[np.isfinite(values)]
        assert (finite == np.rint(finite)).all()
        stored = case.format.decode(case.format.encode(values))
        assert np.array_equal(stored, values, equal_nan=True), "the format must hold them"
        if upstream == "code" and numel >= 3:
            assert (row_sums(case) > 0).sum() >= min(2, len(set(case.tokens.tolist()))), "somebody must speak"


@pytest.mark.parametrize("name", ["tokens", "upstream_values", "weight_values"])
def test_what_is_kept_is_not_spoilt_by_a_reader(name: str) -> None:
    array = getattr(LookupCase(3, 2), name)
    if array.flags.writeable:
        array[...] = 9
    assert not (getattr(LookupCase(3, 2), name) == 9).any()


@pytest.mark.parametrize("dtype", FORMATS)
def test_fingerprints_are_distinct_and_nonzero(dtype: str) -> None:
    values = LookupCase(5, 7, dtype=dtype).weight_values
    assert len(set(values.reshape(-1).tolist())) == 35
    assert values.all()


@pytest.mark.parametrize("dtype", FORMATS)
def test_coded_values_are_what_the_regime_says(dtype: str) -> None:
    fmt = FORMATS[dtype]
    words = np.arange(1, 2000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert set(coded(words, "small", fmt).tolist()) == {-3, -2, -1, 1, 2, 3}
    marks = np.abs(coded(words, "fingerprint", fmt))
    assert marks.min() >= 1
    assert marks.max() <= fmt.largest_integer
    real = np.abs(coded(words, "real", fmt))
    assert real.min() >= 0.125
    assert real.max() <= 16
    with pytest.raises(KeyError, match="no value regime"):
        coded(words, "odd", fmt)


# -- conditions on facts: what they say, what is refused, and that each speaks of facts that exist --------------------


@pytest.mark.parametrize(
    ("condition", "facts", "expected"),
    [
        ("sparse", {"sparse": True}, True), ("sparse", {"sparse": False}, False), ("numel", {"numel": 0}, False),
        ("numel>3", {"numel": 3}, False), ("numel>3", {"numel": 4}, True), ("numel > 3", {"numel": 4}, True),
        ("rank>=3", {"rank": 3}, True), ("rank>=3", {"rank": 2}, False), ("numel>3", {"numel": 20}, True),
        ("dtype=float16", {"dtype": "float16"}, True), ("dtype=float16", {"dtype": "bfloat16"}, False),
        ("out_of_range=-1", {"out_of_range": "-1"}, True),
        ("out_of_range=-1", {"out_of_range": None}, False), ("numel=3", {"numel": 3}, True),
        ("sparse=True", {"sparse": True}, True), ("sparse=False", {"sparse": True}, False),
        ("sparse=False", {"sparse": False}, True), ("padding_idx=0", {"padding_idx": 0}, True),
        ("padding_idx=None", {"padding_idx": None}, True), ("padding_idx=None", {"padding_idx": 0}, False),
        ("padding_idx>0", {"padding_idx": None}, False), ("max_norm=0.5", {"max_norm": 0.5}, True),
        ("max_norm>0", {"max_norm": 0.5}, True),
        ("numel<3", {"numel": 3}, False), ("numel<=3", {"numel": 3}, True), ("max_norm<1", {"max_norm": 0.5}, True),
        ("numel>2 & numel<=4", {"numel": 4}, True), ("numel>2 & numel<=4", {"numel": 5}, False),
        ("norm_type=inf", {"norm_type": float("inf")}, True),
        ("sparse & numel>3", {"sparse": True, "numel": 4}, True), ("sparse&numel>3", {"sparse": True, "numel": 3}, False),
    ],
)  # fmt: skip
def test_holds(condition: str, facts: dict[str, Any], expected: bool) -> None:
    assert holds(condition, facts) is expected


@pytest.mark.parametrize("text", ["", "3", "numel>", "numel>many", "numel!3", "numel>=", "=3", "sparse &", "a b"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(UnknownFact, match="is no condition; expected name, name=value, name>number"):
        conditions(text)
    with pytest.raises(KeyError, match="colour"):
        holds("colour=red", {"numel": 1})


def test_an_unknown_fact_is_told_with_what_is_close_to_it() -> None:
    known = load_families()["lookup"].space.facts
    require(named(["padding_hit & numel>64", "dtype=float16"]), known, "here")
    with pytest.raises(UnknownFact, match=r"^here: no fact 'paddinghit'; did you mean padding_hit") as caught:
        require(named(["numel>64 & paddinghit"]), known, "here")
    assert "\n" not in str(caught.value)
    with pytest.raises(UnknownFact, match=r"^here: no fact 'colour'; there are all_padding, dtype, "):
        require(["colour"], known, "here")


def test_a_law_that_obliges_what_no_case_has_is_refused_when_it_is_registered() -> None:
    family = load_families()["lookup"]
    before = list(family.laws)
    for wrong in ("numl>64", "padding_hit & numl>64"):
        with pytest.raises(UnknownFact, match=r"^law silent: no fact 'numl'; did you mean numel"):

            @family.law("Nothing.", must_cover={"sparse", wrong})
            def silent(case: Any, out: Any) -> Any:
                raise AssertionError

    assert family.laws == before


@pytest.mark.parametrize("name", load_families())
def test_a_space_knows_its_facts_without_running_a_case(name: str) -> None:
    space = load_families()[name].space
    assert {frozenset(case.facts()) for case in itertools.islice(space.cover(1, seed=0), 20)} == {space.facts}


def test_every_mode_speaks_of_facts_that_a_family_of_its_calls_has() -> None:
    for mode in MODES.values():
        taken = (family for family in load_families().values() if not mode.calls or family.call in mode.calls)
        require(named(mode.cannot), frozenset().union(*(family.space.facts for family in taken)), mode.name)


def test_the_shipped_ledger_speaks_of_laws_and_facts_that_there_are() -> None:
    check(read(SHIPPED), {law.name for family in load_families().values() for law in family.laws})
