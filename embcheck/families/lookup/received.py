"""What the tokens of a lookup received, in words: whose row it was, or by how much it is another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from embcheck.core import oracle
from embcheck.core.case import LookupCase
from embcheck.core.declaration import is_subject
from embcheck.core.format import Floats, Format
from embcheck.core.weight_map import MATHEMATICS

#: What a subject may declare whose rows come out as a multiple.
_MEANT = "if that is meant, declare scale="
#: How many elements of a row are shown.
_SHOWN = 6
#: A factor that is as near to 1 is no scale but a rounding, to bfloat16 at most.
_ROUNDING = 2.0**-7


def which_row(case: LookupCase) -> Callable[[Any], str]:
    """Says which rows of the table the tokens received, when they are not their own."""
    return partial(_declared if case.entry in MATHEMATICS else _own, case)


def _own(case: LookupCase, actual: Any) -> str:
    rows = actual.reshape(case.numel, case.embedding_dim)
    weight = case.weight_values
    for token, row in zip(case.tokens.tolist(), rows, strict=True):
        if np.array_equal(row, weight[token], equal_nan=True):
            continue
        found = [r for r in range(len(weight)) if np.array_equal(row, weight[r], equal_nan=True)]
        expected = f"expected row {token}, {_shown(weight[token])}"
        if found:
            return f"token {token} received row {found[0]}; {expected}"
        factor = factor_of(rows, weight[case.tokens], case.format)
        if factor is None or abs(factor - 1) < _ROUNDING:
            return f"token {token} received {_shown(row)}, which is no row of the table; {expected}"
        meant = f" ({_MEANT}{scale_of(factor, case.embedding_dim)})"
        hint = meant if is_subject(case.entry) else ""
        return f"token {token} received {_shown(row)}, which is {factor:g} times row {token}{hint}; {expected}"
    return "a sign of zero or a NaN's payload changed"


def _declared(case: LookupCase, actual: Any) -> str:
    rows = actual.reshape(case.numel, case.embedding_dim)
    wanted, limit = (part.reshape(rows.shape) for part in oracle.declared_lookup(case))
    with np.errstate(invalid="ignore"):
        right = (rows == wanted) | (np.isnan(rows) & np.isnan(wanted)) | (np.abs(rows - wanted) <= limit)
    wrong = np.flatnonzero(~right.all(1))
    place = int(wrong[0]) if len(wrong) else 0
    token, weight = int(case.tokens[place]), case.weight_values[case.tokens]
    factor, said = (factor_of(each, weight, case.format) for each in (rows, wanted))
    received, expected = f"token {token} received {_shown(rows[place])}", f"expected {_shown(wanted[place])}"
    if factor is None or said is None:
        return f"{received}; {expected}, what is declared of row {token}"
    return f"{received}, {factor:g} times row {token}; {said:g} times is declared, {expected}"


def _shown(row: Floats) -> str:
    return f"[{' '.join(f'{value:.9g}' for value in row[:_SHOWN].tolist())}]"


def factor_of(rows: Floats, weight: Floats, fmt: Format) -> float | None:
    """By what all of ``rows`` are a multiple of ``weight``, both of the same shape, but for rounding; None if they are
    not, or if nothing tells."""
    # Products that are nearer to zero lose digits.
    least = fmt.smallest_subnormal / fmt.unit_roundoff**2
    covering_first: npt.NDArray[np.bool_] = np.isfinite(rows) & np.isfinite(weight) & (np.abs(weight) >= least)
    if not covering_first.any():
        return None
    with np.errstate(over="ignore", under="ignore"):
        ratios = rows[covering_first] / weight[covering_first]
    middle = float(np.median(ratios))
    alike = np.abs(ratios - middle) <= 8 * fmt.unit_roundoff * abs(middle)
    return middle if middle != 0 and alike.all() else None


def to_declare(found: Iterable[str]) -> str:
    """The line that declares the scale of which all words speak that speak of one; empty if none do, or not of the same."""
    scales = {scale for words in found for scale in re.findall(rf"\({_MEANT}([^)]*)\)", words)}
    return f"@embcheck.declare(scale={scales.pop()})" if len(scales) == 1 else ""


def scale_of(factor: float, width: int) -> str:
    """A scale as `embcheck.declare` takes it: a function of the width, if one fits."""
    for value, text in ((width**0.5, "math.sqrt"), (float(width), "float"), (width**-0.5, "lambda width: width**-0.5")):
        if width > 1 and abs(factor - value) <= 1e-2 * value:
            return text
    return f"{factor:g}"
