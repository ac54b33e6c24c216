"""The number formats under test, as numpy sees them: precision, unit roundoff, bit patterns.

A value travels through embcheck as float64, which holds every float64, float32, float16 and bfloat16 exactly; only
a tensor's *bits* are kept in the format's own width.  numpy has no bfloat16, so its bits live in ``int16`` and the
conversion, a shift with round-to-nearest-even, is written out here.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format.

    ``precision`` is p, the significand's bits with the hidden one; ``emin`` the exponent of the smallest normal
    number 2^emin; ``storage`` the numpy dtype that carries the bits of a tensor of this format.
    """

    name: str
    precision: int
    emin: int
    emax: int
    storage: np.dtype[np.generic]
    bits: np.dtype[np.signedinteger]

    @cached_property
    def unit_roundoff(self) -> float:
        """u = 2^-p: the largest relative error of one rounding to nearest."""
        return 2.0**-self.precision

    @cached_property
    def smallest_subnormal(self) -> float:
        """η: the spacing of the numbers below the smallest normal one."""
        return 2.0 ** (self.emin - self.precision + 1)

    @cached_property
    def fine(self) -> float:
        """A number little above 1 that no narrower format holds, and whose small multiples are exact; 1 in half precision."""
        return 1 + {"float64": 2.0**-40, "float32": 2.0**-12}.get(self.name, 0.0)

    @cached_property
    def largest_integer(self) -> int:
        """2^p: integers up to here, and sums that stay below it, are exact."""
        return 1 << self.precision

    def encode(self, values: npt.ArrayLike) -> Array:
        """``values`` (float64) rounded to nearest-even into ``storage``."""
        wide = np.asarray(values, dtype=np.float64)
        with np.errstate(over="ignore", under="ignore"):
            if self.name != "bfloat16":
                return wide.astype(self.storage)
            narrow = np.asarray(wide, np.float32, order="C")
        word, inexact = narrow.view(np.uint32), narrow != wide
        if inexact.any():
            # The step to float32 rounds to odd (towards zero, the last bit set if inexact), or a value just beside a
            # tie would be rounded onto it and then to the wrong side.
            word = word - (np.abs(narrow) > np.abs(wide)).astype(np.uint32) | inexact.astype(np.uint32)
        rounded = word + np.uint32(0x7FFF) + ((word >> np.uint32(16)) & np.uint32(1))
        kept = np.where(np.isnan(wide), word | np.uint32(0x00400000), rounded)
        return (kept >> np.uint32(16)).astype(np.uint16).view(np.int16)

    def decode(self, stored: Array) -> Floats:
        """The float64 values of an array in ``storage``; exact."""
        if self.name != "bfloat16":
            return stored.astype(np.float64)
        wide = np.asarray(stored, order="C").view(np.uint16).astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32).astype(np.float64)

    def rounded(self, values: npt.ArrayLike) -> Floats:
        """``values`` as the format holds them, rounded to nearest-even."""
        return self.decode(self.encode(values))

    def to_bits(self, stored: Array) -> npt.NDArray[np.signedinteger]:
        """The bit patterns of an array in ``storage``, as signed integers of the same width."""
        return np.asarray(stored, order="C").view(self.bits)

    def from_bits(self, patterns: npt.ArrayLike) -> Array:
        """The array in ``storage`` whose bit patterns are the non-negative integers ``patterns``."""
        unsigned = np.asarray(patterns, dtype=np.uint64).astype(f"u{self.bits.itemsize}")
        return unsigned.view(self.storage)


FORMATS = {
    name: Format(name, precision, 1 - emax, emax, np.dtype(storage), np.dtype(bits))
    for name, precision, emax, storage, bits in (
        ("float32", 24, 127, "float32", "int32"),
        ("float64", 53, 1023, "float64", "int64"),
        ("float16", 11, 15, "float16", "int16"),
        ("bfloat16", 8, 127, "int16", "int16"),
    )
}

#: The numpy dtype that carries the elements of each torch dtype; those without one of their own travel as bits.
STORAGE: dict[str, str] = {
    **{name: str(fmt.storage) for name, fmt in FORMATS.items()},
    **{name: name for name in ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")},
    **{name: name for name in ("bool", "complex64", "complex128")},
    "complex32": "int32",
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"), "uint8"),
}
#: Those that travel as bits.
CARRIED = frozenset(name for name, carrier in STORAGE.items() if name != carrier)


def special_patterns(fmt: Format) -> list[int]:
    """Bit patterns that arithmetic disturbs and a copy must not: signed zeros, infinities, NaNs with payloads
    of either sign, the ends of the subnormal and normal ranges, and the neighbours of one."""
    width = fmt.bits.itemsize * 8
    mantissa = fmt.precision - 1
    sign, one = 1 << (width - 1), fmt.emax << mantissa
    infinity = ((1 << (width - 1 - mantissa)) - 1) << mantissa
    quiet = infinity | 1 << (mantissa - 1)
    positive = [
        0,
        infinity,
        quiet,
        quiet | 5,  # a payload
        1,  # smallest subnormal
        (1 << mantissa) - 1,  # largest subnormal
        1 << mantissa,  # smallest normal
        infinity - 1,  # largest finite
        one,
        one + 1,  # one ulp above 1
        one - 1,
    ]
    return [pattern | s for pattern in positive for s in (0, sign)]
