"""Hypothesis strategies for tests of your own: tables, indices, lookups, bags, conversions and tied models.

    @given(lookups(dtype=["float32"]))
    def test_my_layer(drawn):
        layer = MyEmbedding(drawn.num_embeddings, drawn.embedding_dim, padding_idx=drawn.padding_idx)
        out = layer(drawn.tensors()["indices"])

Every axis of a case is a draw of its own, so that Hypothesis shrinks it by its own means; the elements of the tensors alone
come from a formula with a seed, which is an axis, too.  Only `sampled_from` is drawn from, since numbers that Hypothesis finds
in loaded modules are mixed into integers and floats: a seed gives the same cases whatever is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from embcheck.core import stream
from embcheck.core.axes import Axes
from embcheck.core.facts import closest
from embcheck.core.law import Family
from embcheck.core.space import Space
from embcheck.families.lookup.cases import LARGEST, ROWS, TOKENS, WIDTHS, padding_of
from embcheck.subject.collect import load_families

if TYPE_CHECKING:
    import torch

Values = Mapping[str, tuple[Any, ...]]
Choose = Callable[[Sequence[Any]], Any]

#: Shapes of indices; None stands for what is left of the size that is drawn.
_FORMS = ((None,), (), (None, 1), (1, None), (2, None), (None, 3), (1, None, 1), (2, 1, 2, None))
#: What is fed to a lookup, and to a bag; which of torch's spellings is called is left out.
_LOOKUP = (
    *("num_embeddings", "numel", "embedding_dim", "indices", "padding_idx", "scale_grad_by_freq", "sparse", "dtype"),
    *("index_dtype", "layout", "index_layout", "upstream_layout", "values", "upstream", "seed"),
)
_BAG = (
    *("num_embeddings", "numel", "embedding_dim", "mode", "bags", "batch", "include_last_offset", "indices"),
    *("padding_idx", "scale_grad_by_freq", "sparse", "weights", "dtype", "index_dtype", "offset_dtype", "layout"),
    *("index_layout", "offset_layout", "weights_layout", "values", "upstream", "seed"),
)
#: Drawn only if asked for: NaN, infinity and numbers at the ends of the range, for which most equalities do not hold.
_UNUSUAL = frozenset({"special", "poisoned", "tiny", "huge"})

#: What a program calls otherwise than PyTorch does.
_PYTORCHS_NAMES = {"sample_weights": "per_sample_weights"}
#: So many cases are tried before it is said that none has the values that are given.
_TRIES = 1000


class Drawn:
    """A case, its axes and facts as attributes (``num_embeddings``, ``padding_idx``, ``numel``, ``padding_hit`` …)."""

    def __init__(self, case: Axes, family: Family, names: frozenset[str] | None) -> None:
        self.case, self._family, self._names = case, family, names

    def __getattr__(self, name: str) -> Any:
        facts = {} if hasattr(self.case, name) else self.case.facts()
        return facts[name] if name in facts else getattr(self.case, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.case.facts()]

    def __repr__(self) -> str:
        return repr(self.case)

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is pickled: a family has functions that can't be, so its name stands for it."""
        return _restored, (self.case, self._family.name, self._names)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors by name, new ones at each call; those of a table require a gradient where the case says so.

        ``weight`` has the shape (num_embeddings, embedding_dim), ``indices`` that of the case, and ``upstream`` that of
        the result.  A tensor whose layout is not contiguous lies in a larger storage, which is poisoned with NaN.
        """
        from embcheck.engine.execute import feed

        inputs = self._family.plan(self.case).inputs.items()
        fed = {name: feed(given).tensor for name, given in inputs if self._names is None or name in self._names}
        return {_PYTORCHS_NAMES.get(name, name): tensor for name, tensor in fed.items()}


def _restored(case: Axes, family: str, names: frozenset[str] | None) -> Drawn:
    return Drawn(case, load_families()[family], names)


def lookups(**values: Iterable[Any]) -> st.SearchStrategy[Drawn]:
    """A table, the tokens that are looked up in it, and the gradient of the result.

    Each keyword gives an axis its values, and no others are drawn: ``dtype=["float32"]``, ``num_embeddings=range(1, 9)``,
    ``shape=[(3,)]``.  What does not fit them is left out.
    Tensors: weight, indices, upstream.

    Raises:
        TypeError: for a keyword that is no axis.
        ValueError: for an axis without a value, a name that the axis does not know, or values that exclude each other.
    """
    return _strategy("lookups", "gradient", _LOOKUP, values)


def tables(**values: Iterable[Any]) -> st.SearchStrategy[Drawn]:
    """A table alone; its one tensor is weight.  Keywords and errors as of `lookups`."""
    names = ("num_embeddings", "embedding_dim", "dtype", "layout", "values", "seed")
    return _strategy("tables", "gradient", names, values, frozenset({"weight"}))


def indices(num_embeddings: int, **values: Iterable[Any]) -> st.SearchStrategy[Drawn]:
    """Tokens for a table of so many rows; their one tensor is indices.  Keywords and errors as of `lookups`."""
    names = ("numel", "indices", "index_dtype", "index_layout", "seed")
    table = {"num_embeddings": (num_embeddings,), "embedding_dim": (1,)}
    return _strategy("indices", "gradient", names, values, frozenset({"indices"}), table)


def paddings(num_embeddings: int) -> st.SearchStrategy[int | None]:
    """Every padding_idx that a table of so many rows takes, negative ones and None among them."""
    return st.sampled_from((None, *range(num_embeddings), *range(-num_embeddings, 0)))


def bags(**values: Iterable[Any]) -> st.SearchStrategy[Drawn]:
    """A table, tokens and the bags that they are in.  Keywords and errors as of `lookups`.

    Tensors: weight, indices, upstream, and where the case has them offsets and per_sample_weights.
    """
    return _strategy("bags", "embedding_bag", _BAG, values)


def conversions(**values: Iterable[Any]) -> st.SearchStrategy[Drawn]:
    """An embedding and a linear layer, one to be made of the other.  Keywords and errors as of `lookups`.

    Tensors: weight, upstream, other (tokens), x (what the new layer is called with).
    """
    return _strategy("conversions", "conversion", (), values)


def tied_models(**values: Iterable[Any]) -> st.SearchStrategy[Drawn]:
    """An embedding and a head that share a Parameter, an optimizer with its arguments, and steps.

    Keywords and errors as of `lookups`.  Tensors: weight, indices, hidden (what the head is called with) and others.
    """
    return _strategy("tied_models", "tied_training", (), values)


class _Cases(st.SearchStrategy[Any]):
    """What draws cases, printed as the call that made it: one of `composite` prints all that it was made with, and only
    where it lies in memory once it is filtered."""

    def __init__(self, call: str, strategy: st.SearchStrategy[Any]) -> None:
        super().__init__()
        self._call, self._strategy = call, strategy

    def __repr__(self) -> str:
        return self._call

    def do_draw(self, data: Any) -> Any:
        return data.draw(self._strategy)


def _strategy(
    call: str,
    name: str,
    names: tuple[str, ...],
    given: Mapping[str, Iterable[Any]],
    tensors: frozenset[str] | None = None,
    table: Values | None = None,
) -> st.SearchStrategy[Drawn]:
    """Draws cases of a family: of its axes the ``names``, or all, and those of a ``table``, which have one value each."""
    family, table = load_families()[name], table or {}
    values = {axis: tuple(each) for axis, each in given.items()}
    words = [repr(each[0]) for each in table.values()][:1]
    for axis, each in given.items():
        words.append(f"{axis}={each if isinstance(each, range) else list(values[axis])}")
    usual = {**table, **_axes(family, names, values)}
    values = {**values, **table}
    _refuse_what_never_fits(family.space, usual, values)
    shown = f"{call}({', '.join(words)})"
    return _Cases(shown, _Cases(shown, _drawn(family, {**usual, **values}, values, tensors)).filter(_fits))


def _axes(family: Family, names: tuple[str, ...], given: Values) -> dict[str, tuple[Any, ...]]:
    """The values of each axis where none are given: the family's, and of sizes every threshold."""
    sizes = {"num_embeddings": ROWS, "embedding_dim": WIDTHS, "numel": TOKENS}
    known = {**family.space.axes, **sizes, "seed": tuple(range(256))} if names else dict(family.space.axes)
    axes: dict[str, tuple[Any, ...]] = {}
    for axis in names or known:
        usual = tuple(value for value in known[axis] if value not in _UNUSUAL)
        axes[axis] = tuple(sorted(usual, key=lambda size: (not size, size))) if axis in sizes and names else usual
    for axis, values in given.items():
        if axis not in axes and not (axis == "shape" and "numel" in axes):
            raise TypeError(f"no axis {axis!r}; {closest(axis, axes) or 'there are ' + ', '.join(axes)}")
        strange = [value for value in values if isinstance(value, str) and value not in known.get(axis, ())]
        if strange or not values:
            raise ValueError(f"{axis}: {strange[0]!r} is none of {known[axis]}" if strange else f"{axis} has no value")
    return axes


def _refuse_what_never_fits(space: Space, usual: Values, given: Values) -> None:
    """Names the fewest keywords whose values no case has together: Hypothesis would say only that it found none.

    Raises:
        ValueError: if there are such keywords.
    """
    if _is_met(space, usual, given):
        return
    least = given
    for axis in given:
        fewer = {name: values for name, values in least.items() if name != axis}
        least = least if _is_met(space, usual, fewer) else fewer
    raise ValueError(f"no case has {' and '.join(f'{axis}={list(values)}' for axis, values in least.items())}")


def _is_met(space: Space, usual: Values, given: Values) -> bool:
    """Whether one of many cases has the values that are given."""
    draws = stream.Stream(0)
    return any(_case(draws.choice, space, {**usual, **given}, given) is not None for _ in range(_TRIES))


@st.composite
def _drawn(draw: st.DrawFn, family: Family, axes: Values, given: Values, names: frozenset[str] | None) -> Drawn | None:
    case = _case(lambda values: draw(st.sampled_from(values)), family.space, axes, given)
    return None if case is None else Drawn(case, family, names)


def _fits(drawn: Drawn | None) -> bool:
    return drawn is not None


def _case(choose: Choose, space: Space, axes: Values, given: Values) -> Axes | None:
    """A row of axes, made to fit each other; the width is one with which the tensors are not too large.

    None if what fits has other values than are given.
    """
    row: dict[str, Any] = {}
    for axis, values in axes.items():
        if axis == "numel" and "shape" in space.axes:
            row["shape"] = choose(axes["shape"]) if "shape" in axes else _shape(choose, values, "numel" in given)
        elif axis == "embedding_dim":
            longest = max(row["num_embeddings"], *row.get("shape", ()), row.get("numel", 1))
            fits = [value for value in values if value * longest <= LARGEST >> 4]
            row[axis] = choose(fits or [min(values)])
        elif axis not in row:
            row[axis] = choose(values)
    size = _size_of(row)
    if size is not None and not {"numel", "shape", "bags"} & given.keys():
        row |= {"shape": (size,)} if "shape" in space.axes else {"numel": size}
    case: Axes | None = space.repair(space.case_type(**{**space.first, **row}))
    return case if case is not None and _is_as_given(case, given) else None


def _shape(choose: Choose, sizes: tuple[Any, ...], exactly: bool) -> tuple[int, ...]:
    """A shape of at least as many tokens as are drawn, or of exactly one of the sizes: whatever the form, the flat one of
    the same size shrinks further."""
    size = choose(sizes)
    shapes = [tuple(-(-size // _others(form)) if each is None else each for each in form) for form in _FORMS]
    shape: tuple[int, ...] = choose([shape for shape in shapes if math.prod(shape) in sizes] if exactly else shapes)
    return shape


def _others(form: tuple[int | None, ...]) -> int:
    return math.prod(each for each in form if each)


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
