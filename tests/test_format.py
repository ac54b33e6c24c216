"""The four formats: every pattern comes back, rounding is to nearest-even, and the constants are those of IEEE 754."""

import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck.core.format import FORMATS, Format, special_patterns

every_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)


def value_of(pattern: int, fmt: Format) -> float:
    """What a bit pattern stands for, from the definition of a binary interchange format."""
    width, mantissa = fmt.bits.itemsize * 8, fmt.precision - 1
    sign = -1 if pattern >> (width - 1) else 1
    exponent = pattern >> mantissa & (1 << (width - 1 - mantissa)) - 1
    fraction = pattern & (1 << mantissa) - 1
    if exponent == (1 << (width - 1 - mantissa)) - 1:
        return math.nan if fraction else sign * math.inf
    if exponent == 0:
        exact = Fraction(fraction) * Fraction(2) ** (fmt.emin - mantissa)
    else:
        exact = Fraction(fraction + (1 << mantissa)) * Fraction(2) ** (exponent - fmt.emax - mantissa)
    return math.copysign(float(exact), sign)


def nearest(value: float, fmt: Format) -> float:
    """The number of a format nearest to ``value``, ties to the even significand, computed in fractions."""
    exact = Fraction(value)
    if exact == 0:
        return value
    exponent = max(math.frexp(value)[1] - 1, fmt.emin)
    unit = Fraction(2) ** (exponent - fmt.precision + 1)
    rounded = Fraction(round(exact / unit)) * unit  # round() of a fraction takes ties to even
    if abs(rounded) >= Fraction(2) ** (fmt.emax + 1):
        return math.copysign(math.inf, value)
    return math.copysign(float(rounded), value)


def same_number(a: float, b: float) -> bool:
    """Equal, the sign of zero included; a NaN equals a NaN."""
    return (a != a and b != b) or struct.pack("<d", a) == struct.pack("<d", b)


def patterns_of(fmt: Format) -> list[int]:
    """All patterns of 16 bits; of the wider formats the special ones and some thousand others."""
    width = fmt.bits.itemsize * 8
    if width == 16:
        return list(range(1 << 16))
    return special_patterns(fmt) + [k * 0x9E3779B97F4A7C15 % (1 << width) for k in range(3000)]


@every_format
def test_constants(fmt: Format) -> None:
    one = fmt.emax << (fmt.precision - 1)
    assert value_of(one, fmt) == 1
    assert value_of(one + 1, fmt) == 1 + 2 * fmt.unit_roundoff
    assert value_of(1, fmt) == fmt.smallest_subnormal
    assert fmt.largest_integer == 2**fmt.precision
    if fmt.name != "bfloat16":
        info = np.finfo(fmt.name)
        assert info.nmant + 1 == fmt.precision
        assert float(info.smallest_subnormal) == fmt.smallest_subnormal


@every_format
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # signalling NaNs are among the patterns
def test_decode_is_the_definition_and_encode_undoes_it(fmt: Format) -> None:
    patterns, mask = patterns_of(fmt), (1 << fmt.bits.itemsize * 8) - 1
    stored = fmt.from_bits(patterns)
    assert [bits & mask for bits in fmt.to_bits(stored).tolist()] == patterns, "bits come back"
    values = fmt.decode(stored)
    assert all(same_number(value_of(p, fmt), got) for p, got in zip(patterns, values.tolist(), strict=True))
    back = fmt.encode(values)
    assert back.dtype == fmt.storage
    number = ~np.isnan(values)
    assert (fmt.to_bits(back) == fmt.to_bits(stored))[number].all()
    assert np.isnan(fmt.decode(back)[~number]).all()


@every_format
@settings(deadline=None, derandomize=True, max_examples=300)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_encode_rounds_to_nearest_even(fmt: Format, value: float) -> None:
    assert same_number(fmt.decode(fmt.encode([value]))[0], nearest(value, fmt))


@every_format
def test_ties_and_their_neighbours(fmt: Format) -> None:
    """Halfway between two neighbours, and the float64 just beside it, which a rounding in two steps gets wrong."""
    one = fmt.emax << (fmt.precision - 1)
    low = [value_of(one + k, fmt) for k in range(6)] + [value_of(k, fmt) for k in range(6)]
    high = [value_of(one + k + 1, fmt) for k in range(6)] + [value_of(k + 1, fmt) for k in range(6)]
    for a, b in zip(low, high, strict=True):
        middle = float((Fraction(a) + Fraction(b)) / 2)
        for value in (middle, math.nextafter(middle, 0.0), math.nextafter(middle, math.inf)):
            for signed in (value, -value):
                assert same_number(fmt.decode(fmt.encode([signed]))[0], nearest(signed, fmt)), signed


@every_format
def test_special_patterns_hold_what_they_promise(fmt: Format) -> None:
    patterns = special_patterns(fmt)
    values = [value_of(pattern, fmt) for pattern in patterns]
    assert len(set(patterns)) == len(patterns)
    largest = float((2 - Fraction(2) ** (1 - fmt.precision)) * Fraction(2) ** fmt.emax)
    normal = 2.0**fmt.emin
    for promised in (0.0, math.inf, fmt.smallest_subnormal, normal - fmt.smallest_subnormal, normal, largest, 1.0,
                     1 + 2 * fmt.unit_roundoff, 1 - fmt.unit_roundoff):  # fmt: skip
        for signed in (promised, -promised):
            assert any(same_number(signed, value) for value in values), signed
    sign = 1 << (fmt.bits.itemsize * 8 - 1)
    nans = {pattern for pattern, value in zip(patterns, values, strict=True) if value != value}
    assert len(nans) == 4, "two payloads of either sign"
    assert {pattern ^ sign for pattern in nans} == nans
