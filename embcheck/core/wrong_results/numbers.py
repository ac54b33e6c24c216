"""Numbers that are known to come out instead, whatever they are the elements of, and plain values: truth values, lists of names."""

import math
from collections import Counter
from typing import Any

import numpy as np

from embcheck.core.format import FORMATS, Floats, Format
from embcheck.core.result import Elements
from embcheck.core.wrong_results.judgement import of_elements, of_plain


@of_elements
def zero(case: Any, seen: Elements) -> Any:
    """Zeros stand where something else should."""
    return not np.any(seen.got[seen.differ])


@of_elements
def where_zeros_are_due(case: Any, seen: Elements) -> Any:
    """Something stands where zeros should, as at padding, and nowhere else."""
    return not np.any(seen.expected[seen.differ])


@of_elements
def cut_short(case: Any, seen: Elements) -> Any:
    """Sums of ones that end too early: less than is due, and more than nothing."""
    got, expected = seen.got[seen.differ], seen.expected[seen.differ]
    return ((got > 0) & (got < expected)).all()


@of_elements
def a_single_number(case: Any, seen: Elements) -> Any:
    """There is one number, and the kind of difference says what it is, NaN or infinity."""
    return seen.got.size == 1 and not np.isfinite(seen.got).any()


@of_elements
def from_the_second_on(case: Any, seen: Elements) -> Any:
    """The first step, or epoch, is right; what comes of the wrong state that it leaves has no short formula."""
    return not seen.differ[:1].any()


@of_elements
def from_the_third_on(case: Any, seen: Elements) -> Any:
    """The first two steps are right."""
    return not seen.differ[:2].any()


@of_elements
def of_norm_one(case: Any, seen: Elements) -> Any:
    """A tensor that was divided by its norm in bfloat16: the norm is rounded, and each quotient, by 2^-8 at most, twice."""
    return abs(float(np.linalg.norm(seen.got.ravel())) - 1) <= 2.0**-6


@of_elements
def averaged_in_single_precision(case: Any, seen: Elements) -> Any:
    """Averages whose shares have 24 bits: each of as many moves as there are elements is off by that share of itself."""
    reach = np.abs(seen.expected).max(initial=0.0) * seen.got.size
    return (np.abs(seen.got - seen.expected) <= 4 * 2.0**-24 * seen.got.size * max(reach, 1.0)).all()


def decoded(fmt: Format, seen: Elements) -> Floats:
    """What is due, as numbers: where bits are compared, these are expected."""
    if seen.expected.dtype.kind == "f":
        return np.asarray(seen.expected, np.float64)
    return fmt.decode(fmt.from_bits(seen.expected.ravel())).reshape(seen.expected.shape)


@of_elements
def no_number(case: Any, seen: Elements) -> Any:
    """NaN, or infinity."""
    return not np.isfinite(seen.got[seen.differ]).any()


@of_elements
def exchanged(case: Any, seen: Elements) -> Any:
    """The numbers that are due, in other places."""
    due = seen.expected if seen.expected.dtype.kind == "f" else decoded(FORMATS["float64"], seen)
    return np.array_equal(np.sort(seen.got, axis=None), np.sort(due, axis=None), equal_nan=True)


#: Between which norms of one matrix torch.matrix_exp takes a polynomial of degree 8.
DEGREE_8 = {
    "float32": (5.116619363445086e-02, 5.800524627688768e-01),
    "float64": (3.397168839976962e-04, 4.991228871115323e-02),
}


@of_elements
def an_exponential_of_degree_8(case: Any, seen: Elements) -> Any:
    """No further off than matrix_exp's polynomial of degree 8, whose coefficient x7 has one factor x3 too few, and its rounding.

    By Bader, Blanes and Casas 2019 it is I + A + y2 A2 + (x3 A2 + A4)(x4 I + x5 A + x6 A2 + x7 A4) with A4 = A2 (x1 A + x2 A2);
    norms of these for the largest norm of A bound what x7 changes.
    """
    root, x3 = math.sqrt(177), 2 / 3
    x1, x2 = x3 * (1 + root) / 88, x3 * (1 + root) / 352
    norm = DEGREE_8[case.dtype][1]
    fourth = norm**2 * (x1 * norm + x2 * norm**2)
    changed = (89 - root) / 5040 * (1 / x3**2 - 1 / x3) * (x3 * norm**2 + fourth) * fourth
    limit = changed + 64 * max(case.shape) ** 2 * case.format.unit_roundoff
    return (np.abs(seen.got - seen.expected) <= limit).all()


@of_plain
def the_other_truth_value(got: Any, expected: Any) -> Any:
    """Truth values, one or lists of them: there is only one wrong value."""
    return _truths(got, expected)


def _truths(got: Any, expected: Any) -> bool:
    """Whether two values, which may be lists, are truth values, alike or not."""
    if isinstance(got, (list, tuple)):
        return type(got) is type(expected) and len(got) == len(expected) and all(map(_truths, got, expected))
    return isinstance(got, bool) and isinstance(expected, bool)


@of_plain
def some_left_out(got: Any, expected: Any) -> Any:
    """A list in which some of what is due is missing, and what is there stands in order; or a smaller number."""
    if isinstance(expected, (list, tuple)):
        rest = iter(expected)
        return type(got) is type(expected) and all(any(each == due for due in rest) for each in got)
    return _is_count(got) and _is_count(expected) and 0 <= got < expected


@of_plain
def some_too_many(got: Any, expected: Any) -> Any:
    """A list that has what is due in order and more of the same sort; or a larger number."""
    if isinstance(expected, (list, tuple)):
        rest = iter(got)
        return type(got) is type(expected) and all(any(each == due for each in rest) for due in expected)
    return _is_count(got) and _is_count(expected) and got > expected


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@of_plain
def exchanged_between_groups(got: Any, expected: Any) -> Any:
    """A list of what each group has, behind the group's number: the same, of other groups."""
    return isinstance(got, list) and Counter(map(_without_the_group, got)) == Counter(map(_without_the_group, expected))


def _without_the_group(item: Any) -> str:
    return repr(item[1:] if isinstance(item, tuple) else item)


@of_plain
def unexpected_keys(got: Any, expected: Any) -> Any:
    """A checkpoint is refused for names that the model has lost."""
    return isinstance(got, str) and got.startswith("Unexpected key(s) in state_dict: ")
