"""Aimed cases of conversions: sizes, strides and earlier calls from the thresholds of the kernels, or as wished."""

from __future__ import annotations

from embcheck.core.format import FORMATS
from embcheck.core.targets import Unmet, Wish
from embcheck.families.conversion.cases import ConversionCase
from embcheck.families.lookup.aimed import layout_of, may_be_several
from embcheck.families.lookup.aimed_tokens import attempts

SIZES = (1, 2, 3, 7, 8, 17, 33, 65, 129)
#: Sizes behind a threshold that a product of two of SIZES does not cross, each for one draw in four.
LARGE = {"rows": (769,), "inner": (257, 32), "columns": (257,)}
#: The largest input and the largest table or output, in elements.
LARGEST_INPUT, LARGEST = 1 << 16, 1 << 18


def linear_case(wish: Wish, biases: tuple[str, ...] = ("whole", "frozen")) -> ConversionCase:
    """A table that became a linear layer's weight, called with one-hot rows × inner to give rows × columns.

    Raises:
        Unmet: if this draw comes to none.
    """
    draws = wish.draws
    large = draws.choice((*LARGE, "", "", "", "", ""))
    rows, inner, columns = (
        wish.number(name, LARGE[name] if name == large else SIZES, 1) for name in ("rows", "inner", "columns")
    )
    if rows * inner > LARGEST_INPUT or max(rows, inner) * columns > LARGEST:
        raise Unmet("rows")
    if not wish.met({"square": rows == inner == columns}):
        raise Unmet("square")
    dtype, earlier = wish.choice("dtype", tuple(FORMATS)), wish.number("earlier", (0, 0, 1, 2, 3), 0, 3)
    flat = wish.meets("right_layout", "contiguous") or wish.meets("right_layout", "transposed")
    threads = wish.number("threads", (1, 1, 1, 2), 1, 2)
    several = may_be_several(wish, earlier) and threads == 1  # many products of two threads each take long
    return ConversionCase(
        inner,
        columns,
        indices=draws.choice(("uniform", "unequal", "permutation", "ends")),
        shape=(rows,),
        bias=draws.choice(biases),
        dtype=dtype,
        layout="contiguous" if flat and draws.chance(2) else layout_of(wish, "right_layout"),
        input_layout=layout_of(wish, "left_layout"),
        threads=threads,
        input="dense" if inner == 1 else "one_hot",  # of which all rows are alike
        passes=1 if several else earlier + 1,
        company="several" if several else "alone",
        values=draws.choice(("fingerprint", "wide" if dtype == "float64" else "real")),
        seed=draws.between(0, 1 << 20),
    )


def aimed_conversion(wish: Wish) -> ConversionCase | None:
    """A linear layer's call with a bias or, one in three, without."""
    biases = ("none",) if wish.draws.chance(3) else ("whole", "frozen")
    found: ConversionCase | None = attempts(wish, lambda wish: linear_case(wish, biases))
    return found
