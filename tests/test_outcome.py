"""Observations: parts, metadata and sparse tensors, each with the expression that gives the same in a script."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_law import TABLE, at, field

from embcheck.core.comparison import same
from embcheck.core.outcome import Missing, Outcome, Refused
from embcheck.core.result import HOLDS, Difference
from embcheck.engine.execute import packed, read, unpacked
from embcheck.modes.mode import MODES

KEYS: list[Any] = [
    0, -1, (1, 2), slice(1, None), slice(0, 1), slice(None, None, 2), (slice(None), 1), (1, slice(0, 2)), ...,
    (..., None), np.int64(1), np.array([1, 0]), (np.array([1, 0]), 2), np.array([False, True]),
    np.array([[True, False, True]] * 2),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_paths_of_parts_lead_to_the_element(key: Any) -> None:
    part = field(TABLE)[key]
    assert eval(part.path, {"seen": {"x": TABLE}}).tolist() == part.values.tolist()
    found = same(part, part.values + 1)
    assert isinstance(found, Difference)
    assert at(found, TABLE) == found.got


def test_an_empty_part_has_an_empty_path() -> None:
    part = field(TABLE)[:0]
    assert eval(part.path, {"seen": {"x": TABLE}}).shape == part.values.shape == (0, 3)


def test_sparse_tensors_are_compared_densely() -> None:
    indices, values = torch.tensor([[2, 0, 2]]), torch.tensor([[1.0], [2.0], [4.0]])
    sparse = torch.sparse_coo_tensor(indices, values, (3, 1), check_invariants=True)
    assert same(field(sparse), [[2], [0], [5]]) == HOLDS
    found = same(field(sparse)[2], [1])
    assert at(found, sparse) == 5
    assert at(same(field(sparse), np.zeros((3, 1))), sparse) == 2


def test_metadata_is_plain_and_its_path_evaluates() -> None:
    tensor = torch.zeros(2, 3, dtype=torch.bfloat16).T
    for name, plain in {"shape": (3, 2), "dtype": "bfloat16", "device": "cpu", "layout": "strided", "is_leaf": True,
                        "requires_grad": False, "is_contiguous": False, "stride": (1, 3)}.items():  # fmt: skip
        assert same(field(tensor).meta(name), plain) == HOLDS
        found = same(field(tensor).meta(name), "something else")
        assert at(found, tensor) == plain


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


def test_what_is_derived_is_what_its_expression_gives() -> None:
    seen = {"calls": [("pre", 1), ("post", 2)], "table": TABLE}
    out = Outcome(seen, read)
    counts = out.calls.derived("{name: n for name, n in {} if n > 1}")
    assert counts.raw == {"post": 2} == eval(counts.path, {"seen": seen})
    assert out.calls.entry(0).derived("len({})").path == 'len(seen["calls"][0])'
    assert out.table.derived("[{}.stride()[axis] for axis in [1, 0]]").raw == [1, 3]
