"""Axes: what every kind of case can do: print as the line that builds it, be read from that line, tell facts."""

from __future__ import annotations

import ast
import inspect
import math
from collections import namedtuple
from collections.abc import Callable, Iterable
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, get_type_hints

from embcheck.core import aliases
from embcheck.core.format import FORMATS, Array, Format

if TYPE_CHECKING:
    from typing import dataclass_transform
else:  # it only speaks to type checkers, and Python 3.10 lacks it

    def dataclass_transform(**kwargs):
        return lambda cls: cls


C = TypeVar("C", bound="Axes")

#: What no axis is.
_NO_DEFAULT = object()
#: Every kind of case by its name, as a printed line calls it.
CASE_TYPES: dict[str, type[Axes]] = {}


class Input(NamedTuple):
    """A tensor to feed: its elements in the format's storage, its dtype's torch name and its `layout`.

    ``requires_grad`` makes it a leaf that collects a gradient.
    """

    stored: Array
    dtype: str
    layout: str = "contiguous"
    requires_grad: bool = False


@dataclass_transform(frozen_default=True)
class Axes(tuple[Any, ...]):
    """What every case can do.  A kind of case declares its axes as a NamedTuple does, with the simplest values as defaults; it is
    made from this class, since a NamedTuple can neither inherit nor keep what was computed."""

    _fields: ClassVar[tuple[str, ...]]
    _field_defaults: ClassVar[dict[str, Any]]
    _places: ClassVar[dict[str, int]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if axes := list(inspect.get_annotations(cls)):
            defaults = [vars(cls)[name] for name in axes if name in vars(cls)]
            # Held until all is taken over: a class that is collected loses its attributes.
            made = namedtuple(cls.__name__, axes, defaults=defaults)  # type: ignore[misc]
            for name in ("__new__", "__getnewargs__", "_fields", "_field_defaults", *axes):
                setattr(cls, name, vars(made)[name])
        if not hasattr(cls, "_fields"):
            return  # what several kinds of case have in common
        cls._places = {name: place for place, name in enumerate(cls._fields)}
        if "facts" in vars(cls):
            cls.facts = _computed_once(cls.facts)  # type: ignore[method-assign, assignment]
        CASE_TYPES[cls.__name__] = cls

    def __repr__(self) -> str:
        """The line that builds this case."""
        return f"{type(self).__name__}({self.written(self._fields)})"

    def written(self, names: Iterable[str]) -> str:
        """Some axes as keywords of a call; those at their defaults are left out."""
        pairs = ((name, getattr(self, name), self._field_defaults.get(name, _NO_DEFAULT)) for name in names)
        return ", ".join(f"{name}={_literal(value)}" for name, value, usual in pairs if value != usual)

    def but(self: C, **changes: Any) -> C:
        """A copy with some axes changed.

        Raises:
            ValueError: for an axis that there is not.
        """
        values = list(self)  # twice as fast as _replace, and spaces are enumerated by it
        try:
            for name, value in changes.items():
                values[self._places[name]] = value
        except KeyError as error:
            raise ValueError(f"{type(self).__name__} has no axis {error}") from None
        return tuple.__new__(type(self), values)

    @property
    def axes(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def keywords(self, *names: str) -> dict[str, Any]:
        """Those of these axes that are not at their defaults, as keywords of what is called."""
        return {name: value for name in names if (value := getattr(self, name)) != self._field_defaults[name]}

    @property
    def finite(self: C) -> C:
        """The case with finite numbers alone: itself, unless it has others."""
        return self

    def facts(self) -> dict[str, Any]:
        """What obligations and ledger regions may speak of: the axes, and what follows from them."""
        return self.axes


class OfDtype(Axes):
    """What a case can do that has a dtype."""

    @cached_property
    def format(self) -> Format:
        return FORMATS[self.dtype]  # type: ignore[attr-defined]


class OfTokens(Axes):
    """What a case can do that has tokens of a shape, or that is a tensor of one."""

    @cached_property
    def numel(self) -> int:
        return math.prod(self.shape)  # type: ignore[attr-defined]


def _computed_once(facts: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """A class's ``facts``, kept in the case: each entry of the ledger, each obligation and some laws ask for them."""

    @wraps(facts)
    def kept(case: Any) -> dict[str, Any]:
        found: dict[str, Any] | None = case.__dict__.get(facts.__qualname__)
        if found is None:
            found = case.__dict__[facts.__qualname__] = facts(case)
        return found

    return kept


def values_of(case_type: type[Axes]) -> dict[str, tuple[Any, ...]]:
    """The values of each axis that has them in its annotation, ``Annotated[type, values]``, simplest first."""
    hints = get_type_hints(case_type, include_extras=True)
    return {name: hints[name].__metadata__[0] for name in case_type._fields if hasattr(hints[name], "__metadata__")}


def _literal(value: Any) -> str:
    """A value as Python writes it; infinity, which has no literal, as a number that is too large for a float."""
    return repr(value).replace("inf", "1e999") if isinstance(value, float) and math.isinf(value) else repr(value)


def parse(text: str) -> Axes:
    """The case that a printed line builds; only literals are accepted, nothing is evaluated.

    Raises:
        ValueError: if the text is no such line; the message says what is wrong.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args):
            raise ValueError("expected Name(axis=value, ...)")
        case_type = CASE_TYPES.get(aliases.case_type(call.func.id))
        if case_type is None:
            raise ValueError(f"no case type {call.func.id!r}; there are {', '.join(sorted(CASE_TYPES))}")
        pairs = [(str(word.arg), ast.literal_eval(word.value)) for word in call.keywords]
        values = {name if name in case_type._fields else aliases.axis(name): value for name, value in pairs}
        if len(values) < len(call.keywords):
            raise ValueError("an axis is repeated")
        unknown = set(values) - set(case_type._fields)
        if unknown:
            raise ValueError(f"{call.func.id} has no axis {', '.join(sorted(unknown))}")
        return case_type(**values)
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"not a case: {text!r} ({error})") from error
