"""What the tokens of a lookup received, in words: whose row it was, or by how much it is another."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from embcheck.core import oracle
from embcheck.core.case import LookupCase
from embcheck.core.comparison import ROW, first_apart
from embcheck.core.declaration import is_subject
from embcheck.core.format import Floats, Format
from embcheck.core.weight_map import MATHEMATICS

#: What a subject may declare whose rows come out as a multiple, or with something added.
_MEANT = "if that is meant, declare "
#: Between two ways in which a number may have been made.
_OR = ", or "
#: A factor that is as near to 1 is no scale but a rounding, to bfloat16 at most; and likewise a term that is as small.
ROUNDING = 2.0**-7


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
        apart = _apart(row, weight[token], (row == weight[token]) | (np.isnan(row) & np.isnan(weight[token])))
        if found:
            return f"token {token} received row {found[0]}; {expected}"
        changes = _changes(rows, weight[case.tokens], case.format, token)
        made = _OR.join(changes) or "no row of the table"
        known = is_subject(case.entry) and len(changes) == 1
        hint = f" ({_MEANT}{next(iter(changes.values()))})" if known else ""
        return f"token {token} received {_shown(row)}, which is {made}{hint}; {expected}{apart}"
    return "a sign of zero or a NaN's payload changed"


def _changes(rows: Floats, weight: Floats, fmt: Format, token: int) -> dict[str, str]:
    """How every row may have been made of the table's, each with what declares it: of one number both fit."""
    found, factor, term = {}, factor_of(rows, weight, fmt), term_of(rows, weight, fmt)
    if factor is not None and abs(factor - 1) >= ROUNDING:
        found[f"{factor:g} times row {token}"] = f"scale={scale_of(factor, weight.shape[1])}"
    if term is not None:
        found[f"row {token} {'plus' if term > 0 else 'minus'} {abs(term):g}"] = f"offset={term:g}"
    return found


def to_tell_apart(case: Any, words: str) -> LookupCase | None:
    """A case of more numbers, where words of one leave open how it was made; of small ones, one may be another's multiple."""
    if not isinstance(case, LookupCase) or not is_subject(case.entry) or _OR not in words:
        return None
    shape = (*case.shape[:-1], 3)  # of the same rank, since a layer may take no other
    return case.but(num_embeddings=3, indices="cycle", shape=shape, values="real")


def meant(words: str) -> str:
    """What words say of a declaration, as they say it; empty if they say nothing."""
    found = re.search(rf" \({_MEANT}[^)]*\)", words)
    return found[0] if found else ""


def _declared(case: LookupCase, actual: Any) -> str:
    rows = actual.reshape(case.numel, case.embedding_dim)
    wanted, limit = (part.reshape(rows.shape) for part in oracle.declared_lookup(case))
    with np.errstate(invalid="ignore"):
        right = (rows == wanted) | (np.isnan(rows) & np.isnan(wanted)) | (np.abs(rows - wanted) <= limit)
    wrong = np.flatnonzero(~right.all(1))
    place = int(wrong[0]) if len(wrong) else 0
    token, weight = int(case.tokens[place]), case.weight_values[case.tokens]
    factor, said = (factor_of(each, weight, case.format) for each in (rows, wanted))
    received = f"token {token} received {_shown(rows[place])}"
    expected = f"expected {_shown(wanted[place])}{_apart(rows[place], wanted[place], right[place])}"
    if factor is None or said is None:
        return f"{received}; {expected}, what is declared of row {token}"
    return f"{received}, {factor:g} times row {token}; {said:g} times is declared, {expected}"


def _shown(row: Floats) -> str:
    return f"[{' '.join(f'{value:.9g}' for value in row[:ROW].tolist())}{' …' * (len(row) > ROW)}]"


def _apart(row: Floats, wanted: Floats, right: npt.NDArray[np.bool_]) -> str:
    """The first element that differs, if those that are shown don't tell."""
    return first_apart(row, wanted, right) if right[:ROW].all() or _shown(row) == _shown(wanted) else ""


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


def term_of(rows: Floats, weight: Floats, fmt: Format) -> float | None:
    """What all of ``rows`` are more than ``weight``, but for rounding; None if they are not, or if nothing tells."""
    finite = np.isfinite(rows) & np.isfinite(weight)
    if not rows[finite].any():
        return None
    larger = np.maximum(np.abs(rows[finite]), np.abs(weight[finite]))
    with np.errstate(over="ignore"):
        terms = rows[finite] - weight[finite]
    middle = float(np.median(terms))
    alike = np.abs(terms - middle) <= 8 * fmt.unit_roundoff * larger
    return middle if alike.all() and abs(middle) >= ROUNDING * larger.max() else None


def to_declare(found: Iterable[str]) -> str:
    """The line that declares that of which all words speak that speak of one; empty if none do, or not of the same."""
    declared = {each for words in found for each in re.findall(rf"\({_MEANT}([^)]*)\)", words)}
    return f"@embcheck.declare({declared.pop()})" if len(declared) == 1 else ""


def scale_of(factor: float, width: int) -> str:
    """A scale as `embcheck.declare` takes it: a function of the width, if one fits."""
    for value, text in ((width**0.5, "math.sqrt"), (float(width), "float"), (width**-0.5, "lambda width: width**-0.5")):
        if width > 1 and abs(factor - value) <= 1e-2 * value:
            return text
    return f"{factor:g}"
