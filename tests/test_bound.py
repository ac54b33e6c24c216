"""The bounds hold against exact fractions, and are tight enough that a tenth of each would not."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from embcheck.core import bound, stream
from embcheck.core.bound import Rounded
from embcheck.core.case import LookupCase, coded
from embcheck.core.format import FORMATS, Floats
from embcheck.core.oracle import weight_gradient

F32 = FORMATS["float32"]
U = F32.unit_roundoff


def reals(name: str, *shape: int, fmt: str = "float32") -> Floats:
    """Numbers of either sign and magnitude in [1/8, 16), exactly in the format."""
    code = stream.words(stream.derive("bound", name), math.prod(shape))
    return coded(code, "real", FORMATS[fmt]).reshape(shape)


def accumulated(values: Floats, dtype: str) -> float:
    """The sum as a loop in the format computes it, one rounding for each addition."""
    total = np.dtype(dtype).type(values[0])
    for x in values[1:].astype(dtype):
        total = total + x
    return float(total)


@pytest.mark.parametrize(("dtype", "length"), [("float32", 2), ("float32", 9), ("float32", 200), ("float16", 30)])
def test_summation_holds_in_any_order_and_is_tight(dtype: str, length: int) -> None:
    worst = 0.0
    for trial in range(60):
        values = reals(f"sum {trial}", length, fmt=dtype)
        magnitude = np.abs(values).sum()
        limit = float(bound.summation(length, magnitude, FORMATS[dtype]))
        assert 0 < limit < magnitude, "not vacuous"
        for order in range(5):
            shuffled = np.array(stream.shuffled(order, values.tolist()))
            if order == 4:  # the adversary: sorted, largest first
                shuffled = values[np.argsort(-values)]
            error = abs(Fraction(accumulated(shuffled, dtype)) - sum(map(Fraction, values.tolist())))
            assert error <= limit
            worst = max(worst, float(error) / limit)
    # Errors grow as √n while the bound grows as n: only short sums come close to it.
    assert worst > (0.3 if length == 2 else 0.02)


def test_gamma_covers_a_chain_of_products() -> None:
    worst = 0.0
    for trial in range(200):
        values = reals(f"product {trial}", 6)
        exact, got = Fraction(values[0]), np.float32(values[0])
        for x in values[1:]:
            exact, got = exact * Fraction(x), got * np.float32(x)
        relative = float(abs(Fraction(float(got)) / exact - 1))
        limit = float(bound.gamma(5, U))
        assert relative <= limit
        worst = max(worst, relative / limit)
    assert worst > 0.3


def test_summation_of_one_or_no_term_is_exact() -> None:
    assert float(bound.summation(0, np.zeros(1), F32)[0]) == 0
    assert float(bound.summation(1, np.full(1, 5.0), F32)[0]) == 0
    assert bound.summation(np.array([1.0, 2.0]), np.array([3.0, 4.0]), F32).tolist() == [0, 4 * (U + 2**-53)]


def test_gamma_against_its_definition() -> None:
    for n in (0, 1, 7, 1000):
        exact = Fraction(n) * Fraction(U) / (1 - Fraction(n) * Fraction(U))
        assert abs(Fraction(float(bound.gamma(n, U))) - exact) <= exact * Fraction(2) ** -51
    assert bound.gamma(np.array([1.0, 2.0**24, 2.0**30]), U).tolist()[1:] == [math.inf, math.inf]


@pytest.mark.parametrize(
    ("dtype", "length"), [("float32", 1), ("float32", 2), ("float32", 90), ("float16", 30), ("float16", 3000)]
)
def test_a_scaled_sum_holds_in_any_order_and_says_something_of_any_length(dtype: str, length: int) -> None:
    fmt, exactly, worst = FORMATS[dtype], np.dtype(dtype).type, 0.0
    for trial in range(20):
        values, factors = (reals(f"{name} {trial}", length, fmt=dtype) / 16 for name in ("terms", "factors"))
        due = sum((Fraction(x) * Fraction(y) for x, y in zip(values, factors, strict=True)), Fraction(0)) / length
        for order in range(3):
            terms = np.array(stream.shuffled(order, (values.astype(dtype) * factors.astype(dtype)).tolist()))
            got = exactly(accumulated(terms, dtype)) / exactly(length)
            # A product, the additions and the division; and a subnormal's spacing for each product that underflows.
            limit = float(bound.scaled_sum(length + 1, fmt.unit_roundoff)) * np.abs(values * factors).sum() / length
            limit += length * fmt.smallest_subnormal
            worst = max(worst, float(abs(Fraction(float(got)) - due)) / limit)
    assert (0.3 if length == 2 else 0.001) < worst <= 1


def test_a_scaled_sum_is_never_looser_than_a_chain() -> None:
    counts = np.array([0.0, 1, 2, 5, 6, 100, 255])
    for others in (0, 1, 3, 5):
        assert (bound.scaled_sum(counts, 2.0**-8, others) <= bound.gamma(counts, 2.0**-8)).all()
    assert bound.scaled_sum(np.array([0.0, 1, 2.0**20]), 2.0**-8, 1).tolist() == [
        0,
        2.0**-8,
        (2.0**12 - 2.0**-8) * (1 + 2.0**-8) + 2.0**-8,
    ]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("upstream", ["real", "special", "ones"])
def test_a_bound_of_a_gradient_is_a_number(dtype: str, upstream: str) -> None:
    """In half precision, too, of a row with thousands of tokens and of one with none."""
    case = LookupCase(5, 2, "late_padding", (3000,), -1, scale_grad_by_freq=True, dtype=dtype, upstream=upstream)
    _, limit = weight_gradient(case)
    assert not np.isnan(limit).any()
    assert (limit[case.padding_row] <= 3000 * case.format.smallest_subnormal).all()


# -- running error analysis: the same formula in fractions, in float32, and with a bound -----------------------------

Formula = Callable[..., Any]

FORMULAS: dict[str, tuple[int, Formula]] = {
    "a + b": (2, lambda a, b: a + b),
    "a - b": (2, lambda a, b: a - b),
    "a * b": (2, lambda a, b: a * b),
    "a / b": (2, lambda a, b: a / b),
    "(a + b) - c": (3, lambda a, b, c: (a + b) - c),
    "a * b + c * d": (4, lambda a, b, c, d: a * b + c * d),
    "a / b - c / d": (4, lambda a, b, c, d: a / b - c / d),
    "a / (abs(b) + abs(c) * d²)": (4, lambda a, b, c, d: a / (abs(b) + abs(c) * (d * d))),
    "-(a * a) * (b - c) / (d * d)": (4, lambda a, b, c, d: -(a * a) * (b - c) / (d * d)),
    "1 / a + 2 * b - 0.5": (2, lambda a, b: 1 / a + 2 * b - 0.5),
    "3 - (a + b) * (a - b)": (2, lambda a, b: 3 - (a + b) * (a - b)),
}


def rounded(values: Floats) -> list[Rounded]:
    """The columns of ``values`` with no error yet."""
    return [Rounded(column, F32) for column in values.T]


@pytest.mark.parametrize("name", FORMULAS)
def test_rounded_encloses_float32(name: str) -> None:
    """The error of an evaluation in float32, against exact fractions, is within the bound."""
    count, formula = FORMULAS[name]
    values = reals(name, 400, count)
    got = formula(*values.astype(np.float32).T)
    assert got.dtype == np.float32
    exact = [formula(*map(Fraction, row)) for row in values.tolist()]
    errors = np.array([float(abs(Fraction(actual) - due)) for actual, due in zip(got.tolist(), exact, strict=True)])
    found = errors / np.asarray(formula(*rounded(values)).error)
    assert max(found) <= 1
    assert max(found) > 0.1, "a tenth of the bound must fail somewhere"


def test_rounded_encloses_square_roots() -> None:
    values = np.abs(reals("sqrt", 400, 2))
    limits = np.asarray((rounded(values)[0] * rounded(values)[1]).sqrt().error)
    worst = 0.0
    for (a, b), limit in zip(values, limits, strict=True):
        got = Fraction(float(np.sqrt(np.float32(a) * np.float32(b))))
        square = Fraction(a) * Fraction(b)
        # |got − √s| ≤ limit, without a square root: (got − limit)² ≤ s ≤ (got + limit)².
        assert (got - Fraction(limit)) ** 2 <= square <= (got + Fraction(limit)) ** 2
        tenth = Fraction(limit) / 10
        worst += not (got - tenth) ** 2 <= square <= (got + tenth) ** 2
    assert worst > 0, "a tenth of the bound must fail somewhere"
    root = Rounded([0.0, 1e-30, -1e-30], F32, 1e-12).sqrt()
    assert (root.error >= np.sqrt(1e-12 - 1e-30)).all()
    assert (root.error < 2e-6).all()


def test_rounded_at_its_edges() -> None:
    divided = (1 / Rounded([0.0, 0.5, 3.0], F32, 1.0)).error
    assert np.isinf(divided).tolist() == [True, True, False], "by what may be zero"
    found = Rounded([1.0, 5.0], F32, 0.5).maximum(Rounded([2.0, -1.0], F32, 0.1))
    assert found.value.tolist() == [2, 5]
    assert (found.error == 0.5).all()
    tiny = 2.0**-100
    product = Rounded(tiny, F32) * tiny
    assert float(np.float32(tiny) * np.float32(tiny)) == 0
    assert float(product.value) <= float(product.error)
    for result in (np.ones(3) * Rounded(2.0, F32), np.ones(3) - Rounded(2.0, F32), np.ones(3) / Rounded(2.0, F32)):
        assert isinstance(result, Rounded)
        assert result.value.shape == (3,)
    assert (np.ones(3) - Rounded(3.0, F32)).value.tolist() == [-2, -2, -2]


def test_what_exact_zeros_come_to_is_exact() -> None:
    zero, third, off = Rounded([0.0], F32), Rounded([1 / 3], F32, 1e-9), Rounded([0.0], F32, 1e-9)
    for result in (zero + third, third - zero, third + zero * third - zero / third, third - zero.sqrt()):
        assert (result.value, result.error) == (third.value, third.error)
    for result in (zero * third, third * zero, zero / third, zero.sqrt(), zero + zero):
        assert not result.value.any()
        assert not result.error.any()
    # Nothing is rounded without that: a zero that is off by something, and one to which a product underflows.
    assert (third + off).error > third.error + off.error
    tiny = Rounded([2.0**-600], F32)
    assert (third + tiny * tiny).error > third.error
    assert np.isnan((zero / zero).value)


@pytest.mark.parametrize("name", ["__add__", "__sub__", "__mul__", "__truediv__"])
def test_operand_errors_are_propagated(name: str) -> None:
    """Operands that are off by as much as their error give results within the result's error."""
    a, b, off = reals("a", 300), reals("b", 300), 1e-4
    result = getattr(Rounded(a, F32, off), name)(Rounded(b, F32, off))
    errors = [np.abs(getattr(a + off, name)(b + sign * off) - result.value) for sign in (-1, 1)]
    assert all((error <= result.error).all() for error in errors)
    assert any((error > result.error / 10).any() for error in errors)
