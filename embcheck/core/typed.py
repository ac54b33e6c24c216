"""Data from a file or a pipe, made into the types that it was written from: the one place that checks them.

JSON from elsewhere may have any field missing, of another type or with more in it.  `built` follows the annotations of
dataclasses and typed dictionaries, names the field that is wrong, and makes control characters visible, so that no text
of a file can steer the terminal that prints it.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date
from enum import Enum
from functools import cache, partial
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from embcheck.core.facts import closest

T = TypeVar("T")

#: All but the tab and the new line that a terminal does not print as a sign: it obeys them, or turns the text round.
#: Halves of surrogate pairs, which JSON may have, can't be printed at all.
_UNPRINTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Malformed(TypeError):
    """Data that are not of the type that is due; the message names the field."""


def visible(text: str) -> str:
    r"""The text with what steers a terminal written out, ``\x1b`` for the escape character."""
    return _UNPRINTED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def built(kind: type[T], data: Any) -> T:
    """What JSON gave, as an instance of a dataclass or typed dictionary (which may have more than it names).

    Raises:
        Malformed: if a field is missing, unknown or of another type.
    """
    due: Any = kind
    made: T = _maker(due)(data)
    return made


@cache
def _maker(hint: Any) -> Callable[[Any], Any]:
    """What makes a value of an annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return _any
    if origin in (Union, types.UnionType):
        return partial(_either, [_maker(argument) for argument in arguments])
    if origin is tuple and arguments[-1] is not ...:
        return partial(_row, [_maker(argument) for argument in arguments])
    if origin in (list, tuple):
        return partial(_list, origin, _maker(arguments[0]))
    if origin in (dict, Mapping):
        return partial(_dictionary, _maker(arguments[1]))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return partial(_member, hint)
    if is_dataclass(hint) or is_typeddict(hint):
        return partial(_object, hint, {name: _maker(part) for name, part in get_type_hints(hint).items()})
    return partial(_plain, hint)


def _plain(kind: Any, data: Any) -> Any:
    if kind is float and type(data) is int:
        return data
    if type(data) is not kind:
        raise Malformed(f"expected {_NAMES.get(kind, kind.__name__)}, got {_told(data)}")
    if kind is float and not math.isfinite(data):
        raise Malformed(f"expected a finite number, got {data}")
    return visible(data) if kind is str else data


_NAMES = {str: "text", int: "an integer", float: "a number", bool: "true or false", type(None): "null", date: "a date"}


def _told(data: Any) -> str:
    return visible(repr(data)[:60])


def _any(data: Any) -> Any:
    if isinstance(data, dict):
        return {visible(name): _any(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_any(value) for value in data]
    return visible(data) if isinstance(data, str) else data


def _either(makers: list[Callable[[Any], Any]], data: Any) -> Any:
    for number, make in enumerate(makers):
        try:
            return make(data)
        except Malformed:
            # The last one, null, would say less of what is wrong than the first.
            if number == len(makers) - 1:
                return makers[0](data)
    raise AssertionError("a union has members")


def _member(kind: Any, data: Any) -> Any:
    try:
        return kind.of(data)
    except (AttributeError, KeyError):
        raise Malformed(f"no {kind.__name__.lower()} {_told(data)}") from None


def _list(kind: Callable[[Any], Any], make: Callable[[Any], Any], data: Any) -> Any:
    if not isinstance(data, (list, tuple)):
        raise Malformed(f"expected a list, got {_told(data)}")
    return kind(make(value) for value in data)


def _row(makers: list[Callable[[Any], Any]], data: Any) -> tuple[Any, ...]:
    if not isinstance(data, (list, tuple)) or len(data) != len(makers):
        raise Malformed(f"expected a list of {len(makers)}, got {_told(data)}")
    return tuple(make(value) for make, value in zip(makers, data, strict=True))


def _dictionary(make: Callable[[Any], Any], data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Malformed(f"expected an object, got {_told(data)}")
    return {visible(name): _named(name, make, value) for name, value in data.items()}


def _object(kind: Any, makers: dict[str, Callable[[Any], Any]], data: Any) -> Any:
    if not isinstance(data, dict):
        raise Malformed(f"expected an object, got {_told(data)}")
    closed = is_dataclass(kind)
    needed = (
        [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
        if closed
        else sorted(kind.__required_keys__)
    )
    for name in needed:
        if name not in data:
            raise Malformed(f"{name} is missing")
    for name in data:
        if closed and name not in makers:
            hint = closest(name, makers)
            raise Malformed(f"there is no field {visible(name)}" + (f"; {hint}" if hint else ""))
    made = {visible(name): _named(name, makers.get(name, _any), value) for name, value in data.items()}
    return kind(**made) if closed else made


def _named(name: str, make: Callable[[Any], Any], value: Any) -> Any:
    try:
        return make(value)
    except Malformed as error:
        raise Malformed(f"{visible(name)}: {error}") from None
