"""The axes of what the strategies draw: the values that each has, those that a keyword gives it, and a case that has them."""

import bisect
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from embcheck.core import stream
from embcheck.core.axes import Axes
from embcheck.core.facts import closest
from embcheck.core.space import Space
from embcheck.families.lookup.cases import LARGEST, ROWS, TOKENS, WIDTHS, padding_of
from embcheck.families.tied_training.optimizers import UNSET

Values = Mapping[str, tuple[Any, ...]]
Choose = Callable[[Sequence[Any]], Any]

#: Shapes of indices; None stands for what is left of the size that is drawn.
_FORMS = ((None,), (), (None, 1), (1, None), (2, None), (None, 3), (1, None, 1), (2, 1, 2, None))
#: Drawn only if asked for: NaN, infinity and numbers at the ends of the range, for which most equalities do not hold.
_UNUSUAL = frozenset({"special", "poisoned", "tiny", "huge"})
#: So many cases are tried before it is said that none has the values that are given.
_TRIES = 1000
#: Sizes of which every threshold is drawn.
_SIZES = {"num_embeddings": ROWS, "embedding_dim": WIDTHS, "numel": TOKENS}
#: How much more often a threshold is drawn than a number between two: together they are four fifths.
_OFTEN = 750
#: The least of the whole numbers that these axes may have, beside their own values.
_LEAST = {"num_embeddings": 0, "embedding_dim": 0, "numel": 0, "seed": 0, "steps": 1}


def known_values(space: Space, *, sized: bool) -> Values:
    """The values that each axis has; where a case is ``sized``, every threshold of its sizes."""
    return {**space.axes, **_SIZES, "seed": tuple(range(256))} if sized else space.axes


def usual_values(names: Iterable[str], known: Values) -> dict[str, tuple[Any, ...]]:
    """The values of each axis where none are given.  Of sizes with every threshold 1 is first and 0 is second, so that a value
    keeps its place, and a draw its meaning, while another axis shrinks."""
    axes: dict[str, tuple[Any, ...]] = {}
    for axis in names:
        usual = tuple(value for value in known[axis] if value not in _UNUSUAL)
        sized = known[axis] is _SIZES.get(axis)
        axes[axis] = tuple(sorted(usual, key=lambda size: (size > 1, not size, size))) if sized else usual
    return axes


def as_words(axis: str, values: Sequence[Any], usual: Sequence[Any]) -> str:
    """The values of an axis as a table of the documentation has them."""
    told = [f"`{value!r}`" for value in values if value in usual]
    told = [*told[:6], f"… {told[-1]}"] if len(told) > 20 else told
    words = ", ".join(told).replace(", …", " …")
    asked = [f"`{value!r}`" for value in values if value not in usual]
    if asked:
        words += f"; only where a keyword asks for it: {', '.join(asked)}"
    if axis in _LEAST:
        between = ", and the whole numbers between" if _has_thresholds(axis, usual) else ""
        words += f"{between}; by a keyword any whole number from {_LEAST[axis]} on"
    return words


def given_values(axis: str, given: Iterable[Any], axes: Values, known: Values) -> tuple[Any, ...]:
    """The values that a keyword gives an axis.

    Raises:
        TypeError, ValueError: as `lookups` says.
    """
    if axis not in axes and not (axis == "shape" in known and "numel" in axes):
        raise TypeError(f"no axis {axis!r}; {closest(axis, axes) or 'there are ' + ', '.join(axes)}")
    if isinstance(given, str) or not isinstance(given, Iterable):
        example = next(value for value in known[axis] if value is not None)
        raise TypeError(f"{axis}: expected a list of values, such as [{example!r}], got {given!r}")
    values = tuple(tuple(value) if isinstance(value, list) else value for value in given)
    if not values:
        raise ValueError(f"{axis} has no value")
    for value in values:
        refuse_unless_known(axis, value, known[axis])
    return values


def refuse_unless_known(axis: str, value: Any, known: tuple[Any, ...]) -> None:
    """Names an axis and a value that it can't have.

    Raises:
        ValueError: if it can't have it.
    """
    if any(value == each and type(value) is type(each) for each in known):
        return
    if axis in _LEAST:
        right = type(value) is int and value >= _LEAST[axis]
        expected = f"expected a whole number from {_LEAST[axis]} on"
    elif axis == "padding_idx":
        right, expected = type(value) is int, "expected the number of a row, 'last' or None"
    elif axis == "shape":
        ranks, least = {len(shape) for shape in known}, min(min(shape, default=1) for shape in known)
        right = _is_whole(value, least) and (len(value) in ranks or len(ranks) > 1)
        expected = f"expected a shape such as {known[0]}"
    elif known[0] == UNSET:  # an argument of an optimizer, which itself refuses other numbers
        right = type(value) in {int, float, *map(type, known[1:])} - {str}
        expected = f"expected one such as {', '.join(map(repr, known[1:4]))}"
    else:
        right = axis in ("indices", "bags") and _is_whole(value, 0)
        near = closest(value, filter(None, known)) if isinstance(value, str) else ""
        expected = near or f"there are {', '.join(map(repr, known))}"
    if not right:
        raise ValueError(f"{axis}: no {value!r}; {expected}")


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, tuple) and all(type(size) is int and size >= least for size in value)


def refuse_what_never_fits(space: Space, usual: Values, given: Values) -> None:
    """Names the fewest keywords whose values no case has together: Hypothesis would say only that it found none.

    Raises:
        ValueError: if there are such keywords.
    """
    if is_met(space, usual, given):
        return
    least = given
    for axis in given:
        fewer = {name: values for name, values in least.items() if name != axis}
        least = least if is_met(space, usual, fewer) else fewer
    raise ValueError(f"no case has {' and '.join(f'{axis}={list(values)}' for axis, values in least.items())}")


def is_met(space: Space, usual: Values, given: Values) -> bool:
    """Whether one of many cases has the values that are given."""
    draws = stream.Stream(0)
    return any(case_of(draws.choice, space, {**usual, **given}, given) is not None for _ in range(_TRIES))


def case_of(choose: Choose, space: Space, axes: Values, given: Values) -> Axes | None:
    """A row of axes, made to fit each other; the width is one with which the tensors are not too large.

    None if what fits has other values than are given.
    """
    row: dict[str, Any] = {}
    for axis, values in axes.items():
        choose_one = _size if axis not in given and _has_thresholds(axis, values) else _value
        if axis == "numel" and "shape" in space.axes:
            size = None if "shape" in axes else choose_one(choose, values)
            row["shape"] = choose(axes["shape"]) if size is None else _shape(choose, size, exactly="numel" in given)
        elif axis == "embedding_dim":
            longest = max(row["num_embeddings"], *row.get("shape", ()), row.get("numel", 1))
            fits = tuple(value for value in values if value * longest <= LARGEST >> 4)
            row[axis] = choose_one(choose, fits or (min(values),))
        elif axis not in row:
            row[axis] = choose_one(choose, values)
    size = _size_of(row)
    if size is not None and not {"numel", "shape", "bags"} & given.keys():
        row |= {"shape": (size,)} if "shape" in space.axes else {"numel": size}
    case: Axes | None = space.repair(space.case_type(**{**space.first, **row}))
    return case if case is not None and _is_as_given(case, given) else None


def _has_thresholds(axis: str, values: Sequence[Any]) -> bool:
    """Whether an axis has every threshold of a size, so that the numbers between are drawn, too."""
    return set(values) == set(_SIZES.get(axis, ()))


def _value(choose: Choose, values: tuple[Any, ...]) -> Any:
    return choose(values)


def _size(choose: Choose, thresholds: tuple[int, ...]) -> int:
    """A threshold or a number between two.  It is one draw, in which the least is first: if there were two, Hypothesis would
    shrink one without the other, and stop at a threshold."""
    ends = _ends(thresholds)
    place: int = choose(range(ends[-1]))
    block = bisect.bisect_right(ends, place)
    below = max(thresholds[:block], default=0)
    within = place - (ends[block - 1] if block else 0)
    return min(below + 1 + within, thresholds[block])


@lru_cache(maxsize=64)
def _ends(thresholds: tuple[int, ...]) -> tuple[int, ...]:
    """Where the places end that stand for each threshold and for the numbers between it and the one before."""
    before = itertools.accumulate((0, *thresholds[:-1]), max)
    gaps = (max(0, size - least) for size, least in zip(thresholds, before, strict=True))
    return tuple(itertools.accumulate(gap + _OFTEN for gap in gaps))


def _shape(choose: Choose, size: int, *, exactly: bool) -> tuple[int, ...]:
    """A shape of at most so many tokens, or of exactly so many: whatever the form, the flat one of the same size has no fewer,
    so that what fails with many tokens shrinks to it."""
    shapes: list[tuple[int, ...]] = []
    for form in _FORMS:
        left = size // math.prod(each for each in form if each)
        shape = tuple(left if each is None else each for each in form)
        fits = math.prod(shape) == size if exactly else bool(math.prod(shape)) == bool(size)
        shapes.append(shape if fits else (size,))
    chosen: tuple[int, ...] = choose(shapes)
    return chosen


def _size_of(row: Mapping[str, Any]) -> int | None:
    """How many tokens there must be: as many as are written out, and none for a table without rows."""
    if isinstance(row.get("indices"), tuple):
        return len(row["indices"])
    return 0 if row.get("num_embeddings") == 0 else None


def _is_as_given(case: Any, given: Values) -> bool:
    """Whether a case has the values that were given, once they were made to fit each other."""
    for axis, values in given.items():
        if axis == "padding_idx":  # which may be a name of a row
            values = tuple(padding_of(each, case.num_embeddings) if isinstance(each, str) else each for each in values)
        if getattr(case, axis) not in values:
            return False
    tokens = case.axes.get("indices")
    return not isinstance(tokens, tuple) or max(tokens, default=-1) < case.num_embeddings
