"""Data from a file or a pipe, made into the types that it was written from: the one place that checks them.

JSON from elsewhere may have any field missing, of another type or with more in it.  `built` follows the annotations of
dataclasses and typed dictionaries, names the field that is wrong, and makes control characters visible, so that no text
of a file can steer the terminal that prints it.  Integers are counts: none is negative.
"""

import math
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import date
from enum import Enum
from functools import cache
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
    made: T = _made(kind, data)
    return made


_NAMES = {str: "text", int: "an integer", float: "a number", bool: "true or false", type(None): "null", date: "a date"}


def _made(hint: Any, data: Any) -> Any:
    """A value of an annotation."""
    origin, arguments, parts, needed = taken_apart(hint)
    if hint is Any:
        return _any(data)
    if origin is Union:
        return _either(arguments, data)
    if origin in (list, tuple):
        _expect(isinstance(data, (list, tuple)), "a list", data)
        if arguments[-1] is ... or origin is list:
            return origin(_made(arguments[0], value) for value in data)
        _expect(len(data) == len(arguments), f"a list of {len(arguments)}", data)
        return tuple(map(_made, arguments, data))
    if origin is dict:
        _expect(isinstance(data, dict), "an object", data)
        return {visible(name): _named(name, arguments[1], value) for name, value in data.items()}
    if parts is not None:
        return _object(hint, parts, needed, data)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint.of(data)  # type: ignore[attr-defined]
        except (AttributeError, KeyError):
            raise Malformed(f"no {hint.__name__.lower()} {_told(data)}") from None
    if hint is float and type(data) is int:
        return data
    _expect(type(data) is hint, _NAMES.get(hint, hint.__name__), data)
    _expect(hint is not float or math.isfinite(data), "a finite number", data)
    _expect(hint is not int or data >= 0, "a count", data)
    return visible(data) if hint is str else data


@cache
def taken_apart(hint: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any] | None, list[str]]:
    """Of an annotation its origin and arguments; of a class with fields these, and the names of those that must be there."""
    origin: Any = get_origin(hint)
    origin = {types.UnionType: Union, Mapping: dict, Sequence: list}.get(origin, origin)
    if is_dataclass(hint):
        needed = [f.name for f in fields(hint) if f.default is MISSING and f.default_factory is MISSING]
        return origin, (), get_type_hints(hint), needed
    if is_typeddict(hint):
        return origin, (), get_type_hints(hint), sorted(hint.__required_keys__)
    return origin, get_args(hint), None, []


def _expect(right: bool, what: str, data: Any) -> None:
    if not right:
        raise Malformed(f"expected {what}, got {_told(data)}")


def _told(data: Any) -> str:
    return visible(repr(data)[:60])


def _any(data: Any) -> Any:
    if isinstance(data, dict):
        return {visible(name): _any(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_any(value) for value in data]
    return visible(data) if isinstance(data, str) else data


def _either(hints: tuple[Any, ...], data: Any) -> Any:
    for hint in hints[1:]:
        try:
            return _made(hint, data)
        except Malformed:
            pass
    return _made(hints[0], data)  # null would say less of what is wrong


def _object(kind: Any, parts: dict[str, Any], needed: list[str], data: Any) -> Any:
    _expect(isinstance(data, dict), "an object", data)
    closed = is_dataclass(kind)
    for name in data:  # first, for what is missing may be misspelt
        if closed and name not in parts:
            hint = closest(name, parts)
            raise Malformed(f"there is no field {visible(name)}" + (f"; {hint}" if hint else ""))
    for name in needed:
        if name not in data:
            raise Malformed(f"{name} is missing")
    made = {visible(name): _named(name, parts.get(name, Any), value) for name, value in data.items()}
    return kind(**made) if closed else made


def _named(name: str, hint: Any, value: Any) -> Any:
    try:
        return _made(hint, value)
    except Malformed as error:
        raise Malformed(f"{visible(name)}: {error}") from None
