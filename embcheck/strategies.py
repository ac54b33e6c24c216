"""Hypothesis strategies for tests of your own: tables, indices, lookups, bags, conversions and tied models.

    @given(lookups(dtype=["float32"]))
    def test_my_layer(drawn):
        layer = MyEmbedding(drawn.num_embeddings, drawn.embedding_dim, padding_idx=drawn.padding_idx)
        out = layer(drawn.tensors()["indices"])

Every axis of a case is a draw of its own, so that Hypothesis shrinks it by its own means; the elements of the tensors alone
come from a formula with a seed, which is an axis, too.  A seed of Hypothesis' gives the same cases whatever is imported: numbers
that it finds in loaded modules, which it mixes into others, are in none of the ranges that are drawn from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hypothesis import strategies as st

from embcheck.core.axes import Axes
from embcheck.core.facts import closest
from embcheck.core.files import with_table, write_whole
from embcheck.core.law import Family
from embcheck.families.lookup.cases import ROWS
from embcheck.strategy_axes import (
    Values,
    as_words,
    case_of,
    given_values,
    is_met,
    known_values,
    refuse_unless_known,
    refuse_what_never_fits,
    usual_values,
)
from embcheck.subject.collect import load_families

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
D = TypeVar("D", bound="Drawn")
#: Integers are drawn from here on, where no module has numbers of its own.
_FAR = 7**99
#: Hypothesis finds no numbers below this one.
_FOUND = 100
#: What a program calls otherwise than PyTorch does.
_PYTORCHS_NAMES = {"sample_weights": "per_sample_weights"}


@cache
def _case_type(family: str) -> type[Axes]:
    return load_families()[family].space.case_type


def _listed(names: Iterable[str]) -> str:
    return f"there are {', '.join(names)}"


class Drawn:
    """A case, its axes and facts as attributes (``num_embeddings``, ``padding_idx``, ``numel``, ``padding_hit`` …).

    It is built of its axes, as it prints; those at their defaults may be left out.

    Raises:
        TypeError: for a keyword that is no axis, or an axis without a default that is not given.
    """

    _family: ClassVar[str]
    #: Of what is a part of a case the axes, further facts and tensors that it has, and the other axes that the case must have.
    _axes: ClassVar[tuple[str, ...]] = ()
    _facts: ClassVar[tuple[str, ...]] = ()
    _tensors: ClassVar[tuple[str, ...]] = ()
    _beside: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, **axes: Any) -> None:
        known = self._names()
        for axis in axes:
            if axis not in known:
                raise TypeError(f"{type(self).__name__} has no axis {axis!r}; {closest(axis, known) or _listed(known)}")
        self.case = _case_type(self._family)(**self._beside, **axes)

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        """The axes' names."""
        return cls._axes or _case_type(cls._family)._fields

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked of a copy that has no case yet
            raise AttributeError(name)
        has = (*self._axes, *self._facts)
        if has and name not in has:
            raise AttributeError(f"{type(self).__name__} has no {name!r}; {_listed(has)}")
        facts = {} if hasattr(self.case, name) else self.case.facts()
        return facts[name] if name in facts else getattr(self.case, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(self._axes or self.case.facts()), *self._facts]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.case.written(self._names())})"

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is pickled: by its axes."""
        return partial(type(self), **{axis: getattr(self.case, axis) for axis in self._names()}), ()

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors by name, new ones at each call; docs/strategies.md has their shapes, and which require a gradient.

        ``drawn.indices`` is the axis, a word for how tokens were chosen; the tokens are ``drawn.tensors()["indices"]``.
        A tensor whose layout is not contiguous lies in a larger storage, which is poisoned with NaN.
        """
        from embcheck.engine.execute import feed

        inputs = load_families()[self._family].plan(self.case).inputs.items()
        fed = {name: feed(given).tensor for name, given in inputs if name in (self._tensors or (name,))}
        return {_PYTORCHS_NAMES.get(name, name): tensor for name, tensor in fed.items()}


class Lookup(Drawn):
    """A table, tokens and flags."""

    _family = "gradient"


class Table(Drawn):
    """A table alone."""

    _family = "gradient"
    _axes = ("num_embeddings", "embedding_dim", "dtype", "layout", "values", "seed")
    _facts = ("elements", "zero_width")
    _tensors = ("weight",)
    _beside: ClassVar[Mapping[str, Any]] = {"shape": (0,)}  # no tokens, so that the table may have no rows


class Indices(Drawn):
    """Tokens for a table of so many rows."""

    _family = "gradient"
    _axes = ("num_embeddings", "indices", "shape", "index_dtype", "index_layout", "seed")
    _facts = (
        *("numel", "rank", "empty", "max_count", "repeated", "unequal_counts"),
        *("first_row", "last_row", "untouched_row"),
    )
    _tensors = ("indices",)
    _beside: ClassVar[Mapping[str, Any]] = {"embedding_dim": 1}


class Bags(Drawn):
    """A table, tokens and the bags that they are in."""

    _family = "embedding_bag"


class Conversion(Drawn):
    """An embedding and a linear layer, one to be made of the other."""

    _family = "conversion"


class TiedModel(Drawn):
    """An embedding and a head that share a Parameter, an optimizer and steps."""

    _family = "tied_training"


#: The strategy of each kind, and the axes that it draws, or all.  Which of torch's spellings is called is left out.
_STRATEGIES: dict[type[Drawn], tuple[str, str]] = {
    Lookup: (
        "lookups",
        "num_embeddings numel embedding_dim indices padding_idx scale_grad_by_freq sparse dtype index_dtype layout index_layout "
        "upstream_layout values upstream seed",
    ),
    Table: ("tables", " ".join(Table._axes)),
    Indices: ("indices", "numel indices index_dtype index_layout seed"),
    Bags: (
        "bags",
        "num_embeddings numel embedding_dim mode bags batch include_last_offset indices padding_idx scale_grad_by_freq sparse "
        "weights dtype index_dtype offset_dtype layout index_layout offset_layout weights_layout values upstream seed",
    ),
    Conversion: ("conversions", ""),
    TiedModel: ("tied_models", ""),
}


def lookups(**values: Iterable[Any]) -> st.SearchStrategy[Lookup]:
    """A table, the tokens that are looked up in it, and the gradient of the result.

    Each keyword gives an axis its values, and no others are drawn: ``dtype=["float32"]``, ``num_embeddings=range(1, 9)``,
    ``shape=[(3,)]``.  What does not fit them is left out.
    Tensors: weight, indices, upstream.

    Raises:
        TypeError: for a keyword that is no axis, or what is no list of values.
        ValueError: for an axis without a value, a value that the axis does not have, or values that exclude each other.
    """
    return _strategy(Lookup, values)


def tables(**values: Iterable[Any]) -> st.SearchStrategy[Table]:
    """A table alone; its one tensor is weight.  Keywords and errors as of `lookups`."""
    return _strategy(Table, values)


def indices(num_embeddings: int, **values: Iterable[Any]) -> st.SearchStrategy[Indices]:
    """Tokens for a table of so many rows; their one tensor is indices.  Keywords and errors as of `lookups`."""
    table = {"num_embeddings": (num_embeddings,), "embedding_dim": (1,)}
    return _strategy(Indices, values, table)


def paddings(num_embeddings: int) -> st.SearchStrategy[int | None]:
    """Every padding_idx that a table of so many rows takes, negative ones and None among them.

    Raises:
        ValueError: for a number of rows that there can't be.
    """
    refuse_unless_known("num_embeddings", num_embeddings, ROWS)
    return _one_of((None, *range(num_embeddings), *range(-num_embeddings, 0)))


def bags(**values: Iterable[Any]) -> st.SearchStrategy[Bags]:
    """A table, tokens and the bags that they are in.  Keywords and errors as of `lookups`.

    Tensors: weight, indices, upstream, and where the case has them offsets and per_sample_weights.
    """
    return _strategy(Bags, values)


def conversions(**values: Iterable[Any]) -> st.SearchStrategy[Conversion]:
    """An embedding and a linear layer, one to be made of the other.  Keywords and errors as of `lookups`.

    Tensors: weight, upstream, other (tokens), x (what the new layer is called with).
    """
    return _strategy(Conversion, values)


def tied_models(**values: Iterable[Any]) -> st.SearchStrategy[TiedModel]:
    """An embedding and a head that share a Parameter, an optimizer with its arguments, and steps.

    Keywords and errors as of `lookups`.  Tensors: weight, indices, hidden (what the head is called with) and others.
    """
    return _strategy(TiedModel, values)


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


def _strategy(kind: type[D], given: Mapping[str, Iterable[Any]], table: Values | None = None) -> st.SearchStrategy[D]:
    """Draws a kind: its family's cases, on its axes and on those of a ``table``, which have one value each."""
    call, family, known, names = _drawn_as(kind)
    table, usual = table or {}, usual_values(names, known)
    values = {axis: given_values(axis, each, usual, known) for axis, each in given.items()}
    values |= {axis: given_values(axis, each, table, known) for axis, each in table.items()}
    words = [repr(each[0]) for each in table.values()][:1]
    for axis, each in given.items():
        words.append(f"{axis}={each if isinstance(each, range) else list(values[axis])}")
    refuse_what_never_fits(family.space, {**usual_values(table, known), **usual}, values)
    shown = f"{call}({', '.join(words)})"
    return _Cases(shown, _Cases(shown, _drawn(kind, family, {**table, **usual, **values}, values)).filter(_fits))


def _drawn_as(kind: type[Drawn]) -> tuple[str, Family, Values, tuple[str, ...]]:
    """The strategy of a kind, its family, the values that its axes have, and the names of these axes."""
    call, axes = _STRATEGIES[kind]
    family = load_families()[kind._family]
    known = known_values(family.space, sized=bool(axes))
    return call, family, known, tuple(axes.split()) or tuple(known)


@st.composite
def _drawn(draw: st.DrawFn, kind: type[D], family: Family, axes: Values, given: Values) -> D | None:
    case = case_of(lambda values: draw(_one_of(values)), family.space, axes, given)
    return None if case is None else kind(**{axis: getattr(case, axis) for axis in kind._names()})


def _one_of(values: Sequence[T]) -> st.SearchStrategy[T]:
    """One of some values, the first of which is the simplest.  `sampled_from` draws the place of one, an integer from 0 on."""
    if len(values) <= _FOUND:
        return st.sampled_from(values)
    return st.integers(_FAR, _FAR + len(values) - 1).map(lambda place: values[place - _FAR])


def _fits(drawn: Drawn | None) -> bool:
    return drawn is not None


# -- the axes as the documentation has them ---------------------------------------------------------------------------------


def as_markdown() -> str:
    """A table of the axes of each strategy with their values, and the facts of a whole case beside them."""
    lines: list[str] = []
    for kind in _STRATEGIES:
        call, family, known, names = _drawn_as(kind)
        usual = usual_values(names, known)
        table = {"num_embeddings": (3,), "embedding_dim": (1,)} if call == "indices" else {}
        lines += [f"### {call}", "", "| axis | values |", "| --- | --- |"]
        for axis in names:
            had = [value for value in known[axis] if is_met(family.space, {**table, **usual}, {axis: (value,)})]
            lines.append(f"| `{axis}` | {as_words(axis, had, usual[axis])} |")
        facts = sorted(set((*kind._axes, *kind._facts) or family.space.facts) - set(names))
        lines += ["", f"Further facts: {', '.join(f'`{fact}`' for fact in facts)}.", ""]
    return "\n".join(lines[:-1]) + "\n"


#: What stands above the tables in a page of the documentation.
_MARK = "<!-- the tables of embcheck/strategies.py"


def page(text: str) -> str:
    """A page of the documentation with the tables as they are now."""
    return with_table(text, _MARK, as_markdown())


if __name__ == "__main__":
    import sys

    write_whole(Path(sys.argv[1]), page(Path(sys.argv[1]).read_text(encoding="utf-8")))
