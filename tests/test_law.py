"""Every comparison accepts what it should and refuses what it should, and the path of an observation leads to the element."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from embcheck.core.comparison import every, identical, is_false, is_true, refuses, same, same_strides, unwritten, within
from embcheck.core.format import FORMATS
from embcheck.core.law import accepts
from embcheck.core.outcome import AROUND, Field, Missing, Outcome, Refused
from embcheck.core.result import HOLDS, Difference, Finding, Holds, NotApplicable
from embcheck.engine.execute import packed, read, unpacked
from embcheck.modes.mode import MODES

NAN, INF = math.nan, math.inf
TABLE = torch.arange(6.0).reshape(2, 3)


def field(raw: Any) -> Field:
    return Outcome({"x": raw}, read).x


def bits(tensor: torch.Tensor) -> Any:
    return FORMATS[str(tensor.dtype).removeprefix("torch.")].to_bits(read(tensor))


def different(finding: Finding) -> Difference:
    assert isinstance(finding, Difference)
    return finding


def at(finding: Finding, raw: Any) -> Any:
    """What stands where a difference says, for `seen` as a script has it."""
    found = eval(different(finding).path, {"seen": {"x": raw}})
    return found.item() if isinstance(found, torch.Tensor) else found


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (TABLE, [[0, 1, 2], [3, 4, 5]]),
        (torch.zeros(2), np.array([-0.0, 0.0])),
        (torch.tensor([NAN, INF]), np.array([NAN, INF])),
        (torch.zeros(3, 2), 0),
        (torch.zeros(0, 2), np.ones((0, 2))),
        (torch.tensor(2.0), 2),
        (torch.tensor([True, False]), np.array([True, False])),
        (torch.tensor([3, 4]), [3, 4]),
        *((plain, plain) for plain in (7, (2, 3), None)),
    ],
)
def test_same_accepts(raw: Any, expected: Any) -> None:
    assert same(field(raw), expected) == HOLDS


@pytest.mark.parametrize(
    ("raw", "expected", "kind"),
    [
        (torch.tensor([1.0, 2.0, 3.0]), [1.0, 2.5, 3.0], "value"),
        (torch.tensor([[1.0, NAN]]), np.array([[1.0, 0.0]]), "value: NaN"),
        (torch.tensor([1.0]), np.array([NAN]), "value"),
        (torch.tensor([INF]), np.array([-INF]), "value: infinity"),
        (torch.tensor(3.0), 4.0, "value"),
        (torch.tensor([1, 2]), [1, 3], "value"),
        (torch.ones(2, dtype=torch.bfloat16), [1.0, 1.0 + 2.0**-9], "value"),
        (True, False, "value"),
        (1, True, "value"),
        ((2, 3), (2, 4), "value"),
        (None, 0, "missing"),
    ],
)
def test_same_refuses(raw: Any, expected: Any, kind: str) -> None:
    found = different(same(field(raw), expected))
    actual = at(found, raw)
    assert actual == found.got or (actual != actual and found.got != found.got)
    assert found.kind == kind
    assert found.words
    assert "\n" not in found.words


def test_same_tells_of_a_long_list_what_the_other_has_not() -> None:
    one, other = list(range(20)), [*range(18), 19, 20]
    assert different(same(field(one), other)).words == "[18], expected [20] (19 others agree)"
    assert different(same(field(one[:12]), [*one[:12], 3.5])).words == "[], expected [3.5] (12 others agree)"
    assert different(same(field(one[::-1]), one)).words == f"{one[::-1]}, expected {one}", "only the order differs"
    assert different(same(field([1, 2]), [1, 3])).words == "[1, 2], expected [1, 3]"


def test_same_wants_an_observation_and_does_not_broadcast_shapes() -> None:
    with pytest.raises(TypeError, match="observation"):
        same(np.zeros(2), 0)
    found = different(same(field(torch.zeros(2, 3)), np.zeros(3)))
    assert (found.kind, found.got, found.expected) == ("shape", (2, 3), (3,))
    assert tuple(eval(found.path, {"seen": {"x": torch.zeros(2, 3)}})) == (2, 3)


@pytest.mark.parametrize("raw", [TABLE, TABLE.stride()])
def test_strides_are_those_of_a_tensor_or_observed_ones(raw: Any) -> None:
    assert same_strides(field(raw), (2, 3), (3, 1)) == HOLDS
    assert same_strides(field(raw), (2, 1), (3, 7)) == HOLDS, "an axis of one element has any"
    found = same_strides(field(raw), (2, 3), (1, 2))
    assert (different(found).got, at(found, raw)) == ([3, 1], [3, 1])


def test_identical_accepts_only_the_same_bits() -> None:
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        tensor = torch.tensor([0.0, -0.0, NAN, INF, 1.5], dtype=dtype)
        assert identical(field(tensor), bits(tensor)) == HOLDS
        assert identical(field(tensor[1]), bits(tensor)[1]) == HOLDS, "0-dimensional"
        for position, kind in ((0, "bits: zero"), (2, "bits: NaN"), (3, "bits: infinity"), (4, "bits: value")):
            expected = bits(tensor).copy()
            expected[position] ^= 1 << (expected.itemsize * 8 - 1) - 9  # a bit of the significand
            found = different(identical(field(tensor), expected))
            assert found.kind == kind
            assert found.bits
            assert found.path == f'seen["x"][{position}]'
            assert found.got == bits(tensor)[position]
    minus = bits(torch.tensor([-0.0]))
    assert different(identical(field(torch.tensor([0.0])), minus)).kind == "bits: zero"


def test_identical_compares_integers_too_and_does_not_broadcast() -> None:
    assert identical(field(torch.tensor([1, 2])), np.array([1, 2])) == HOLDS
    assert different(identical(field(torch.tensor([1, 2])), np.array([1, 3]))).got == 2
    assert different(identical(field(TABLE), bits(TABLE)[0])).kind == "shape"


@pytest.mark.parametrize(
    ("raw", "expected", "limit", "result"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, HOLDS),
        ([1.25, 2.0], [1.0, 2.0], 0.5, Holds(0.5)),
        ([1.25, 2.5], [1.0, 2.0], np.array([1.0, 0.5]), Holds(1.0)),
        ([NAN, 2.0], [NAN, 2.0], 0.0, HOLDS),
        ([9.0, INF], [1.0, INF], INF, Holds(0.0, loose=True)),  # nothing was claimed
        ([NAN, 2.0, NAN, INF], [1.0, 2.5, INF, 1.0], np.array([NAN, 1.0, NAN, NAN]), Holds(0.5)),  # not even a number
        ([NAN, 9.0], [1.0, 1.0], NAN, Holds(0.0, loose=True)),
    ],
)
def test_within_accepts_and_measures(raw: Any, expected: Any, limit: Any, result: Finding) -> None:
    assert within(field(torch.tensor(raw)), np.array(expected), limit) == result


def test_within_takes_infinity_where_the_bound_reaches_beyond_the_format() -> None:
    half = field(torch.tensor([1.0, -INF], dtype=torch.float16))
    assert within(half, np.array([1.5, -65_000.0]), np.array([1.0, 520.0])) == Holds(0.5), "65,520 is rounded up"
    for expected, bound in ((-65_000.0, 519.0), (65_000.0, 520.0)):
        assert different(within(half, np.array([1.0, expected]), np.array([1.0, bound]))).kind == "bound: infinity"


@pytest.mark.parametrize(
    ("value", "expected", "limit"),
    [
        (1.25, 1, 0.125),
        (1.25, 1, 0),
        (NAN, 1, 9),
        (INF, 1, 9),
        (1, NAN, 9),
        (INF, -INF, 9),
        (NAN, 1, INF),
        (1, INF, NAN),
    ],
)
def test_within_refuses(value: float, expected: float, limit: float) -> None:
    raw = torch.tensor([[1.0], [value]])
    found = different(within(field(raw), np.array([[1.0], [expected]]), limit))
    assert found.path == 'seen["x"][1, 0]'
    assert at(found, raw) == value or value != value
    assert different(within(field(raw), np.zeros((2, 2)), limit)).kind == "shape"


def test_what_differs_is_shown() -> None:
    """The first elements, or where none of these differs, those that do."""
    raw = torch.arange(20.0)
    for place, words in ((2, "0 1 2 3 4 5 6 7 …, expected 0 1 9 3 4 5 6 7 …"), (12, "12, expected 9")):
        expected = np.arange(20.0)
        expected[place] = 9.0
        assert different(within(field(raw), expected, 0.5)).words == f"{words} within 0.5 (1 of 20 elements differ)"


def test_explain_speaks_instead_of_numbers() -> None:
    for compare in (same, lambda got, want, explain: within(got, want, 0.0, explain)):
        found = different(compare(field(TABLE), np.zeros((2, 3)), lambda actual: f"saw {actual.shape}"))
        assert found.words.startswith("saw (2, 3)")
    found = different(within(field(TABLE), np.zeros((2, 3)), 0.5, lambda actual: "nothing arrived"))
    assert found.words.startswith("nothing arrived; the bound is 0.5 (")


def test_truths() -> None:
    assert is_true(field(True), "w") == HOLDS
    assert is_false(field(torch.tensor(False)), "w") == HOLDS
    assert (different(is_true(field(0), "w")).got, different(is_true(field(0), "w")).words) == (False, "w")
    assert different(is_false(field(1), "w")).expected is False


def test_unwritten() -> None:
    def out(**written: str) -> Outcome:
        return Outcome({}, read, written=lambda: written)

    assert unwritten(out()) == HOLDS
    assert unwritten(Outcome({}, read)) == HOLDS
    assert unwritten(out(weight="its elements changed"), "weight") == HOLDS
    assert different(unwritten(out(weight="its elements changed"))).kind == "wrote weight"
    assert different(unwritten(out(weight=AROUND), "weight")).kind == "wrote weight", "nobody may write around"


def test_refuses() -> None:
    out = Outcome({}, read, error=IndexError("index 5 is out of range"))
    assert refuses(out, IndexError) == HOLDS
    assert refuses(out, RuntimeError, LookupError) == HOLDS
    assert different(refuses(out, RuntimeError)).kind == "raised IndexError"
    accepted = different(refuses(Outcome({}, read), IndexError, RuntimeError))
    assert (accepted.kind, accepted.expected) == ("accepted", "IndexError or RuntimeError")


@pytest.mark.parametrize("kind", ["does not compile: ", ""])
def test_a_long_error_ends_with_a_mark(kind: str) -> None:
    """In words alone: a script looks for what was got in what is raised."""
    error = RuntimeError(
        f"{kind}Output 0 of Fn is a view and is being modified inplace. " + "This view is of Fn. " * 20
    )
    found = different(accepts(None, Outcome({}, read, error=error)))  # type: ignore[arg-type]
    assert found.words.endswith(" …")
    assert found.got.startswith(found.words.removesuffix(" …"))
    assert found.got.removeprefix("raised RuntimeError: ") in str(error)
    short = different(accepts(None, Outcome({}, read, error=RuntimeError("no"))))  # type: ignore[arg-type]
    assert short.words == "raised RuntimeError: no"


def test_every() -> None:
    bad = Difference("value", "p", 1, 2, "w")
    worse = Difference("bits", "p", 1, 2, "w")
    skipped = NotApplicable("no bias")
    assert every(HOLDS, HOLDS) == HOLDS
    assert every(HOLDS, Holds(0.25), Holds(0.5), skipped) == Holds(0.5)
    found = every(Holds(0.5), bad, worse)
    assert found == bad
    assert isinstance(found, Difference)
    assert list(found) == [bad, worse], "the others are told of"
    assert every(skipped, skipped) is skipped
    assert isinstance(every(), NotApplicable), "nothing was compared"
    with pytest.raises(TypeError, match="None"):
        every(HOLDS, None)  # type: ignore[arg-type]


def test_a_loose_bound_is_told_and_one_strict_part_makes_up_for_it() -> None:
    got = field(torch.tensor([1.0, 2.0]))
    loose = within(got, np.array([1.5, 2.5]), np.array([2.0, 3.0]))
    strict = within(got, np.array([1.5, 2.5]), np.array([2.0, 0.5]))
    assert isinstance(loose, Holds)
    assert loose.loose
    assert strict == Holds(1.0)
    assert every(loose, loose) == loose
    assert every(loose, strict) == Holds(1.0)
    assert every(HOLDS, loose) == Holds(loose.ratio)


@pytest.mark.parametrize("ratio", [-0.5, 1.5, NAN, INF])
def test_a_law_holds_with_a_ratio_from_0_to_1(ratio: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Holds(ratio)


# -- observations -----------------------------------------------------------------------------------------------------

KEYS: list[Any] = [
    0, -1, (1, 2), slice(1, None), slice(0, 1), slice(None, None, 2), (slice(None), 1), (1, slice(0, 2)), ...,
    (..., None), np.int64(1), np.array([1, 0]), (np.array([1, 0]), 2), np.array([False, True]),
    np.array([[True, False, True]] * 2),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_paths_of_parts_lead_to_the_element(key: Any) -> None:
    part = field(TABLE)[key]
    assert eval(part.path, {"seen": {"x": TABLE}}).tolist() == part.values.tolist()
    found = different(same(part, part.values + 1))
    assert at(found, TABLE) == found.got


def test_sparse_tensors_are_compared_densely() -> None:
    indices, values = torch.tensor([[2, 0, 2]]), torch.tensor([[1.0], [2.0], [4.0]])
    sparse = torch.sparse_coo_tensor(indices, values, (3, 1), check_invariants=True)
    assert same(field(sparse), [[2], [0], [5]]) == HOLDS
    found = same(field(sparse)[2], [1])
    assert at(found, sparse) == 5
    assert at(same(field(sparse), np.zeros((3, 1))), sparse) == 2
    said = torch.sparse_coo_tensor(indices, values, (3, 1), is_coalesced=True, check_invariants=False)
    assert np.isnan(read(said)[:, 0]).tolist() == [False, False, True], (
        "what says that it is coalesced has no duplicates"
    )


def test_an_empty_part_has_an_empty_path() -> None:
    part = field(TABLE)[:0]
    assert eval(part.path, {"seen": {"x": TABLE}}).shape == part.values.shape == (0, 3)


def test_metadata_is_plain_and_its_path_evaluates() -> None:
    tensor = torch.zeros(2, 3, dtype=torch.bfloat16).T
    for name, plain in {"shape": (3, 2), "dtype": "bfloat16", "device": "cpu", "layout": "strided", "is_leaf": True,
                        "requires_grad": False, "is_contiguous": False, "stride": (1, 3)}.items():  # fmt: skip
        assert same(field(tensor).meta(name), plain) == HOLDS
        found = same(field(tensor).meta(name), "something else")
        assert at(found, tensor) == plain


def test_what_is_derived_is_what_its_expression_gives() -> None:
    seen = {"calls": [("pre", 1), ("post", 2)], "table": TABLE}
    out = Outcome(seen, read)
    counts = out.calls.derived("{name: n for name, n in {} if n > 1}")
    assert counts.raw == {"post": 2} == eval(counts.path, {"seen": seen})
    assert out.calls.entry(0).derived("len({})").path == 'len(seen["calls"][0])'
    assert out.table.derived("[{}.stride()[axis] for axis in [1, 0]]").raw == [1, 3]


def test_an_outcome_says_what_it_has() -> None:
    with pytest.raises(AttributeError, match=r"^'y', which the program does not give; it gives x$"):
        _ = Outcome({"x": 1}, read).y
    with pytest.raises(Refused, match=r"^'x', though the program raised IndexError$"):
        _ = Outcome({}, read, error=IndexError()).x
    assert "x" in Outcome({"x": 1}, read)


def test_what_did_not_come_out_is_told_as_missing() -> None:
    """None where a law reads elements or metadata is no oracle's mistake, but a difference; None where it expects None."""
    nothing = field(None)
    for read_it in (lambda: nothing.values, lambda: nothing.bits, lambda: nothing.plain("shape"), lambda: nothing[0]):
        with pytest.raises(Missing, match='seen\\["x"\\] is None'):
            read_it()
    with pytest.raises(Missing):
        same(nothing, np.zeros(2))
    assert isinstance(same(nothing, 0), Difference)
    assert same(nothing, None) == HOLDS


def test_an_outcome_of_another_process_is_what_it_was_there() -> None:
    leaf = torch.nn.Parameter(TABLE.clone())
    seen = {"leaf": leaf, "grown": (leaf * 2).T, "sparse": leaf.to_sparse(1), "plain": TABLE[:, 1:], "number": 3}
    here = Outcome(seen, read)
    there = unpacked(packed(here), MODES["eager"])
    for name in ("leaf", "grown", "sparse", "plain"):
        wanted = ("requires_grad", "is_leaf", "shape", "dtype", *(() if name == "sparse" else ("stride",)))
        one, other = (getattr(out, name) for out in (there, here))
        assert [one.plain(each) for each in wanted] == [other.plain(each) for each in wanted]
        assert (one.values == other.values).all()
    assert there.number.raw == 3
