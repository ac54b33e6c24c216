"""The oracle against the definitions once more, in Python loops and fractions."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from embcheck.core import oracle
from embcheck.core.bound import Rounded
from embcheck.core.case import LookupCase, coded
from embcheck.core.format import FORMATS, Floats
from embcheck.core.pattern import PATTERNS
from embcheck.core.stream import derive, words
from embcheck.families.tied_training.exact import exact_sgd
from embcheck.families.tied_training.oracle import Steps

Table = list[list[Fraction]]


def gradient(case: LookupCase) -> Table:
    """dW by the definition: for each token that is not padding, its upstream gradient on its row."""
    grad = [[Fraction(0)] * case.embedding_dim for _ in range(case.num_embeddings)]
    counts = [case.tokens.tolist().count(row) for row in range(case.num_embeddings)]
    for token, sent in zip(case.tokens.tolist(), case.upstream_values.tolist(), strict=True):
        if token == case.padding_row:
            continue
        by = counts[token] if case.scale_grad_by_freq else 1
        for column, value in enumerate(sent):
            grad[token][column] += Fraction(value) / by
    return grad


def error(actual: Floats, exact: Table) -> float:
    """The largest departure from the exact values."""
    return max((float(abs(Fraction(a) - e)) for r, s in zip(actual.tolist(), exact, strict=True)
                for a, e in zip(r, s, strict=True)), default=0.0)  # fmt: skip


CASES = [
    LookupCase(rows, 3, pattern, (numel,), padding, scale_grad_by_freq=scale, seed=seed)
    for seed, (pattern, rows, numel, padding, scale) in enumerate(
        itertools.product(PATTERNS, (1, 3, 40), (0, 1, 7, 130), (None, 0), (False, True))
    )
]


@pytest.mark.parametrize("upstream", ["code", "ones", "real"])
def test_weight_gradient(upstream: str) -> None:
    for case in CASES[:: 1 if upstream == "code" else 3]:
        fed = case.but(upstream=upstream)
        value, limit = oracle.weight_gradient(fed)
        exact = gradient(fed)
        # The oracle computes in float64, whose own error must be far below the bound of a float32 kernel.
        assert error(value, exact) <= (0 if upstream != "real" and not fed.scale_grad_by_freq else 1e-13)
        assert value.shape == limit.shape == (fed.num_embeddings, 3)
        if upstream != "real" and not fed.scale_grad_by_freq:
            assert not limit.any(), "integers leave no room"


def accumulated(case: LookupCase, reverse: bool) -> Floats:
    """dW as a float32 kernel may compute it: a loop over the tokens from either end, then one division."""
    grad = np.zeros((case.num_embeddings, case.embedding_dim), np.float32)
    sent = case.upstream_values.astype(np.float32)
    for k in list(range(case.numel))[:: -1 if reverse else 1]:
        if case.counted[k]:
            grad[case.tokens[k]] += sent[k]
    return (grad / oracle.divisor(case).astype(np.float32)).astype(np.float64)


def test_bound_holds_for_a_float32_loop_and_is_not_vacuous() -> None:
    worst = 0.0
    for case in (case.but(upstream="real") for case in CASES):
        value, limit = oracle.weight_gradient(case)
        magnitude = oracle.accumulate(case.tokens, case.num_embeddings, np.abs(case.upstream_values))
        assert (limit <= magnitude / 1000).all()
        for reverse in (False, True):
            departure = np.abs(accumulated(case, reverse) - value)
            assert (departure <= limit).all(), case
            if limit.any():
                worst = max(worst, float((departure[limit > 0] / limit[limit > 0]).max()))
    assert worst > 0.1, "a tenth of the bound must fail somewhere"


def test_scaled_gradient_is_exact_for_powers_of_two_only() -> None:
    case = LookupCase(4, 2, (0, 1, 1, 2, 2, 2, 3, 3, 3, 3), (10,), scale_grad_by_freq=True)
    limit = oracle.weight_gradient(case)[1]
    assert [bool(row.any()) for row in limit] == [False, False, True, False]


def test_product_of_integers_beyond_the_budget_has_a_bound() -> None:
    big: Any = np.full((1, 4), 2.0**12)
    assert oracle.product(big, big.T, FORMATS["float32"])[1].any()
    assert not oracle.product(big, big.T, FORMATS["float64"])[1].any()


def test_vacuous() -> None:
    assert oracle.vacuous(np.array([2.0, 3.0]), np.array([2.0, 1.0]))
    assert not oracle.vacuous(np.array([2.0, 0.5]), np.array([2.0, 1.0]))
    assert not oracle.vacuous(np.zeros(2), np.zeros(2)), "nothing to bound"


def test_accumulate_is_the_same_in_a_taller_table() -> None:
    """Rows that no token names stay zero, and without tokens or columns all that there is."""
    for name in PATTERNS:
        tokens = PATTERNS[name](50, 7, 2, 3)
        sent = np.arange(100.0).reshape(50, 2)
        small, tall = oracle.accumulate(tokens, 7, sent), oracle.accumulate(tokens, 5000, sent)
        assert tall[:7].tolist() == small.tolist()
        assert not tall[7:].any()
    for rows in (7, 5000):
        none = oracle.accumulate(np.zeros(0, np.int64), rows, np.zeros((0, 2)))
        assert none.dtype == np.float64
        assert not none.any()
        assert oracle.accumulate(np.zeros(4, np.int64), rows, np.zeros((4, 0))).shape == (rows, 0)


def matrix(name: str, regime: str, rows: int, columns: int) -> Floats:
    return coded(words(derive(name), rows * columns), regime, FORMATS["float32"]).reshape(rows, columns)


@pytest.mark.parametrize("regime", ["small", "real"])
def test_product_against_fractions(regime: str) -> None:
    fmt = FORMATS["float32"]
    for inner in (0, 1, 5, 60):
        a, b = matrix("a", regime, 4, inner), matrix("b", regime, inner, 3)
        value, limit = oracle.product(a, b, fmt)
        exact = [[sum((Fraction(x) * Fraction(y) for x, y in zip(row, column, strict=True)), Fraction(0))
                  for column in b.T.tolist()] for row in a.tolist()]  # fmt: skip
        assert error(value, exact) <= (0 if regime == "small" else 1e-11)
        assert bool(limit.any()) == (regime == "real" and inner > 0)
        loop = np.zeros((4, 3), np.float32)
        for k in range(inner):
            loop += a[:, k, None].astype(np.float32) * b[k].astype(np.float32)
        assert (np.abs(loop.astype(np.float64) - value) <= limit).all()
        assert (limit <= np.abs(a) @ np.abs(b)).all()


#: Flags of SGD of which each intermediate value may need more digits.
SGD: dict[str, Any] = {"momentum": 0.5, "dampening": 0.0, "weight_decay": 0.0, "maximize": False, "nesterov": True}


@pytest.mark.parametrize(("name", "rate", "exact"), [
    ("float64", 2.0, True), ("float64", 1 + 2.0**-0.5, False), ("float32", 0.1, False), ("bfloat16", 0.5, True)
])  # fmt: skip
def test_sgd_is_exact_only_where_no_product_rounds(name: str, rate: float, exact: bool) -> None:
    fmt, weight = FORMATS[name], np.array([[-1.0]])
    gradients: list[Rounded | None] = [Rounded(np.array([[each]]), fmt) for each in (1.0, 3.0)]
    found = exact_sgd(Steps(SGD, weight, gradients, [2.0, rate], fmt))
    assert (found is not None) == exact
    if found is not None:
        buffer = Fraction(1, 2) + 3
        due = -1 - 2 * Fraction(3, 2) - Fraction(rate) * (3 + buffer / 2)
        assert Fraction(float(found[0][1, 0, 0])) == due


def test_sgd_is_exact_only_where_no_duplicate_rounds() -> None:
    fmt, plain = FORMATS["bfloat16"], SGD | {"momentum": 0.0, "nesterov": False}
    steps = Steps(plain, np.array([[150.0]]), [Rounded(np.array([[2.0]]), fmt)], [0.5], fmt)
    magnitudes = np.array([[[2.0]]])
    assert exact_sgd(steps) is not None
    assert exact_sgd(steps, magnitudes) is None, "150 - 0.5 has nine bits"
    assert exact_sgd(steps, magnitudes, part=2.0) is not None
