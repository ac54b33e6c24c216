"""Comparisons: what laws are made of.  Each finds that a law holds, exactly or within a bound, or a difference."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embcheck.core.oracle import vacuous
from embcheck.core.outcome import AROUND, Field, Missing, Outcome
from embcheck.core.result import HOLDS, Difference, Elements, Finding, Holds, NotApplicable, at, kind_of

#: What it means that an observation is None.
_NOTHING = {
    "weight_grad": "the weight got no gradient: None after the backward pass",
    "sample_grad": "the per_sample_weights got no gradient: None after the backward pass",
}


def missing(error: Missing) -> Difference:
    """What a law finds that asked for an observation that is None."""
    name = error.path.removeprefix('seen["').replace('"]', "", 1)
    plain = name.replace("_grad", " gradient").replace("_", " ")
    words = _NOTHING.get(name, f"there is no {plain}: None came out")
    return Difference("missing", f"{error.path} is None", True, False, words)


def same(
    got: Field | Any, expected: Field | npt.ArrayLike | Any, explain: Callable[[Any], str] | None = None
) -> Finding:
    """Equal as values, everywhere: −0.0 equals 0.0 and a NaN equals a NaN.

    What is expected may be an observation too: then a counterexample's script compares the two.  ``explain`` gets the actual
    elements when they differ and says in words what that means.
    """
    if not isinstance(got, Field):
        raise TypeError("the first argument of same() is an observation")
    beside = expected if isinstance(expected, Field) else None
    if beside is not None:
        expected = beside.values if beside.is_tensor else beside.raw
    if isinstance(expected, np.ndarray):
        got.require()
    if not got.is_tensor and not isinstance(got.raw, np.ndarray):
        if (type(got.raw) is bool or not isinstance(expected, bool)) and bool(got.raw == expected):
            return HOLDS
        kind, other = "value" if got.raw is not None else "missing", beside.path if beside is not None else ""
        return Difference(kind, got.path, got.raw, expected, both_told(got.raw, expected), beside=other)
    if beside is not None:
        beside.require()
    actual = got.values
    wanted = np.asarray(expected)
    if actual.shape != wanted.shape and wanted.ndim:
        return _shaped(got, actual, wanted, beside)
    differ = actual != wanted
    if not np.count_nonzero(differ):  # which takes half as long as `any`
        return HOLDS
    agree = ~differ
    if actual.dtype.kind in "fc":
        agree |= np.isnan(actual) & np.isnan(wanted)
        if agree.all():
            return HOLDS
    beside = beside if actual.shape == wanted.shape else None  # of one number no part stands beside each element
    return _where(got, actual, np.broadcast_to(wanted, actual.shape), agree, "value", explain, beside=beside)


def same_strides(got: Field, shape: tuple[int, ...], expected: tuple[int, ...]) -> Finding:
    """Strides of the axes longer than one, where there are elements: others mean nothing.

    ``got`` is the tensor, or strides that a program observed.
    """
    if got.is_tensor:
        got = got.meta("stride")
    wide = [axis for axis, length in enumerate(shape) if length > 1 and 0 not in shape]
    return same(got.derived(f"[{{}}[axis] for axis in {wide}]"), [expected[axis] for axis in wide])


def identical(
    got: Field, expected: Field | npt.NDArray[Any] | int, explain: Callable[[Any], str] | None = None
) -> Finding:
    """Bit for bit: sign of zero, NaN payload and subnormals included.  ``expected`` are bit patterns, one for all elements, or
    an observation."""
    beside = expected if isinstance(expected, Field) else None
    actual = got.bits
    if isinstance(expected, int):
        expected = np.full(actual.shape, expected)
    wanted: npt.NDArray[Any] = expected.bits if isinstance(expected, Field) else expected
    if actual.shape != wanted.shape:
        return _shaped(got, actual, wanted, beside)
    differ = actual != wanted
    if not np.count_nonzero(differ):
        return HOLDS
    position, other = _first(~differ), beside.place if beside is not None else ""
    kind = kind_of("bits", got.values[position].item(), None)
    pair = int(actual[position]), int(wanted[position])
    words = explain(got.values) if explain else _in_bits(got, position, *pair)
    elements = Elements(got.values, wanted, differ, got.place, other)
    path, there = at(got.place, position), at(other, position)
    return Difference(kind, path, *pair, words, bits=True, elements=elements, beside=there)


def within(
    got: Field,
    expected: Field | npt.NDArray[np.float64],
    bound: npt.NDArray[np.float64] | float,
    explain: Callable[[Any], str] | None = None,
) -> Finding:
    """No further than ``bound`` from ``expected``, which may be an observation, elementwise; where the bound is 0, equal.
    Where it is NaN, nothing is claimed; but if an infinity is expected, that or NaN.

    It holds with the worst ratio of error to bound, *loosely* where no bound is below what it bounds.
    """
    beside = expected if isinstance(expected, Field) else None
    wanted: npt.NDArray[Any] = expected.values if isinstance(expected, Field) else expected
    actual: npt.NDArray[Any] = got.values
    if actual.shape != wanted.shape:
        return _shaped(got, actual, wanted, beside)
    differ = actual != wanted
    if not np.count_nonzero(differ):  # as most are: then no bound matters
        return HOLDS
    limit = np.broadcast_to(np.asarray(bound, np.float64), wanted.shape)
    with np.errstate(invalid="ignore"):
        error = np.abs(actual - wanted)
        agree = error <= limit
    if not agree.all():
        agree |= ~differ | (np.isnan(actual) & np.isnan(wanted)) | _overflown(got, actual, wanted, limit)
        agree |= np.isnan(limit) & (np.isnan(actual) | np.isfinite(wanted))
    if not agree.all():
        return _where(got, actual, wanted, agree, "bound", explain, limit, beside)
    held = differ & (limit > 0) & np.isfinite(limit) & np.isfinite(error)
    ratio = float((error[held] / limit[held]).max()) if held.any() else None
    if vacuous(limit, np.abs(wanted)):
        return Holds(ratio or 0.0, loose=True)
    return HOLDS if ratio is None else Holds(ratio)


def _overflown(
    got: Field, actual: npt.NDArray[Any], expected: npt.NDArray[Any], limit: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Where infinity came out and the bound reaches beyond what the format has room for."""
    if got.format is None or np.iscomplexobj(actual):
        return np.zeros(actual.shape, np.bool_)
    with np.errstate(invalid="ignore"):
        # What is nearer to 2^(emax + 1) than to the largest number is rounded to infinity.
        room = 2.0**got.format.emax * (1 - got.format.unit_roundoff / 2)
        reached: npt.NDArray[np.bool_] = (np.sign(actual) * expected + limit) / 2 >= room
    reached &= np.isinf(actual) & (limit > 0)
    return reached


def described(got: Field, **wanted: Any) -> Finding:
    """The metadata of an observed tensor, each as `Field.meta` gives it: ``described(out.value, is_leaf=False)``."""
    for name, value in wanted.items():
        if got.plain(name) != value:
            return same(got.meta(name), value)
    return HOLDS


def is_true(got: Field, words: str, expected: bool = True) -> Finding:
    """The observation is true; ``words`` say what it means if it is not."""
    if got.raw is None:
        return missing(Missing(got.path))
    came = bool(got.raw)
    return HOLDS if came is expected else Difference("untrue", got.path, came, expected, words)


def is_false(got: Field, words: str) -> Finding:
    """The observation is false; ``words`` say what it means if it is not."""
    return is_true(got, words, False)


def left_alone(surroundings: Field) -> Finding:
    """The list of what a call changed beside its result is empty."""
    changed = surroundings.require().raw
    if not changed:
        return HOLDS
    words = f"{' and '.join(changed)} changed"
    return Difference("value", surroundings.path, changed, [], words)


def unwritten(out: Outcome, *allowed: str) -> Finding:
    """No input changed, except the elements of those ``allowed``, nor anything around one."""
    for name, words in out.written().items():
        if name not in allowed or words == AROUND:
            return Difference(f"wrote {name}", "written", f"{name}: {words}", "unchanged", f"{name}: {words}")
    return HOLDS


def refuses(out: Outcome, *errors: type[BaseException]) -> Finding:
    """The execution raised one of ``errors``, and nothing else came out."""
    if isinstance(out.error, errors):
        return HOLDS
    names = " or ".join(error.__name__ for error in errors)
    if out.error is None:
        return Difference("accepted", "error", "no error", names, f"accepted, expected {names}")
    got = type(out.error).__name__
    return Difference(f"raised {got}", "error", got, names, f"raised {got} ({out.error}), expected {names}")


def every(*findings: Finding) -> Finding:
    """The first difference, which tells of the others, or that all hold, with the worst ratio.

    What is not applicable among them says nothing; where nothing else is there, nothing was judged.
    """
    for finding in findings:
        if not isinstance(finding, Finding):
            raise TypeError(f"every() was given {finding!r}, which no comparison returns")
    differences = [each for finding in findings if isinstance(finding, Difference) for each in finding]
    if differences:
        return replace(differences[0], others=tuple(replace(each, others=()) for each in differences[1:]))
    judged = [finding for finding in findings if isinstance(finding, Holds)]
    if not judged:
        return findings[0] if findings else NotApplicable("there is nothing to compare")
    ratios = [each.ratio for each in judged if each.ratio is not None]
    if not ratios:
        return HOLDS
    # One part that was checked in earnest is enough.
    return Holds(max(ratios), loose=all(each.loose for each in judged))


def _shaped(got: Field, actual: npt.NDArray[Any], expected: npt.NDArray[Any], beside: Field | None) -> Difference:
    pair = tuple(actual.shape), tuple(expected.shape)
    other = f"{beside.path}.shape" if beside is not None else ""
    return Difference("shape", f"{got.path}.shape", *pair, f"shape {pair[0]}, expected {pair[1]}", beside=other)


def _in_bits(got: Field, position: tuple[int, ...], have: int, want: int) -> str:
    fmt = got.format
    if fmt is None:
        return f"{have}, expected {want}"
    digits = fmt.bits.itemsize * 2
    mask = (1 << 4 * digits) - 1
    wanted = fmt.decode(fmt.from_bits([want & mask]))[0]
    return (
        f"{got.values[position]:g} (bits {have & mask:0{digits}x}), expected {wanted:g} (bits {want & mask:0{digits}x})"
    )


def _first(agree: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(k) for k in np.argwhere(~agree)[0])


def _where(
    got: Field,
    actual: npt.NDArray[Any],
    expected: npt.NDArray[Any],
    agree: npt.NDArray[np.bool_],
    kind: str,
    explain: Callable[[Any], str] | None,
    limit: npt.NDArray[np.float64] | None = None,
    beside: Field | None = None,
) -> Difference:
    position = _first(agree)
    have, want = actual[position].item(), expected[position].item()
    bound = 0.0 if limit is None else float(limit[position])
    other = beside.place if beside is not None else ""
    words = explain(actual) if explain is not None else both_shown(actual, expected, ~agree)
    if limit is not None and bound:
        words += f" within {bound:.3g}" if explain is None else f"; the bound is {bound:.3g}"
    missing = int((~agree).sum())
    words += f" ({missing} of {agree.size} elements differ)" if agree.size > 1 else ""
    elements = Elements(actual, expected, ~agree, got.place, other)
    path, there = at(got.place, position), at(other, position)
    return Difference(kind_of(kind, have, want), path, have, want, words, bound, elements=elements, beside=there)


def both_shown(actual: npt.NDArray[Any], expected: npt.NDArray[Any], differ: npt.NDArray[np.bool_]) -> str:
    """What came out and what was expected, so that they can be told apart: the first elements, if one of them differs, or the
    first that differ, in as many digits as that takes."""
    shows = differ.reshape(-1)[:SHOWN].any()
    for chosen, digits in ((np.ones_like(differ) if shows else differ, 6), (differ, 6), (differ, 17)):
        got, wanted = shown(actual[chosen], digits=digits), shown(expected[chosen], digits=digits)
        if got != wanted:
            break
    return f"{got}, expected {wanted}"


#: How many elements of an array are shown, and of a list beside those that differ.
SHOWN = 8


def both_told(got: Any, expected: Any) -> str:
    """What came out and what was expected, as Python writes it; of a long list only the elements that the other has not."""
    if isinstance(got, list) and isinstance(expected, list) and max(len(got), len(expected)) > SHOWN:
        alone, missed = ([each for each in a if each not in b] for a, b in ((got, expected), (expected, got)))
        if alone or missed:  # a list in another order is told whole
            return f"{alone!r}, expected {missed!r} ({len(got) - len(alone)} others agree)"
    return f"{got!r}, expected {expected!r}"


def shown(array: npt.NDArray[Any], most: int = SHOWN, digits: int = 6) -> str:
    """The first elements of an array, as a person would write them."""
    flat = array.reshape(-1)
    text = " ".join(f"{x:.{digits}g}" if isinstance(x, float) else str(x) for x in flat[:most].tolist())
    return text + (" …" if flat.size > most else "")


#: How many elements of a row are shown.
ROW = 6


def rows_shown(got: npt.NDArray[Any], wanted: npt.NDArray[Any], agree: npt.NDArray[np.bool_]) -> tuple[str, str, str]:
    """A row that came out, one that was expected, and the first element that differs if it is none of those that are shown, or
    if these are written alike."""
    texts = [f"{row[:ROW]}"[:-1] + (" …]" if len(row) > ROW else "]") for row in (got, wanted)]
    told = texts[0] != texts[1] and not agree[:ROW].all()
    return texts[0], texts[1], "" if told else first_apart(got, wanted, agree)


def first_apart(got: npt.NDArray[Any], wanted: npt.NDArray[Any], agree: npt.NDArray[np.bool_]) -> str:
    """The first element of a row that differs, in as many digits as that takes; empty if none does."""
    if agree.all():
        return ""
    column = int(np.argmin(agree))
    pair = got[column].item(), wanted[column].item()
    digits = next((digits for digits in (9, 17) if f"{pair[0]:.{digits}g}" != f"{pair[1]:.{digits}g}"), 9)
    return f"; column {column} is {pair[0]:.{digits}g}, expected {pair[1]:.{digits}g}"
