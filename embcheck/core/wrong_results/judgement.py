"""Whether a difference is no other than what is known: by judgements that have names, by literals, and by observation.

An entry says in ``instead`` what may come out: the names of judgements, or a table that says so for each observation
that may differ.  ``= 2`` is the very value that comes out, as Python writes it, ``in ['a', 'b']`` one of several, or a list
of none but these.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache, wraps
from typing import Any

import numpy as np

from embcheck.core.result import Difference, Elements

#: Tells of a case and a difference on it whether it is no other than what is known.
Judgement = Callable[[Any, Difference], bool]
#: What may come out instead: of whatever differs, or of each observation.
Instead = str | Mapping[str, str]

INSTEAD: dict[str, Judgement] = {}

#: The kinds of difference that say nothing of what came out, so that only the value tells two faults apart.
NUMERIC = ("value", "bound", "bits")
#: How a literal begins.
_LITERALS = ("=", "in [")
_OBSERVATION = re.compile(r'seen((?:\[(?:"[^"]*"|\d+)\])+)')
_NAME = re.compile(r'\["([^"]*)"\]')


def instead(wanted: Judgement) -> Judgement:
    """Registers a judgement under its name, in words."""
    INSTEAD[wanted.__name__.replace("_", " ")] = wanted
    return wanted


def of_elements(wanted: Callable[[Any, Elements], Any]) -> Judgement:
    """A judgement of a tensor's elements; of what is no tensor it says no."""

    @wraps(wanted)
    def judge(case: Any, found: Difference) -> bool:
        if found.elements is None:
            return False
        with np.errstate(all="ignore"):
            return bool(wanted(case, found.elements))

    return instead(judge)


def of_plain(wanted: Callable[[Any, Any], Any]) -> Judgement:
    """A judgement of a plain value that came out, given the one that is due; of a tensor it says no."""

    @wraps(wanted)
    def judge(case: Any, found: Difference) -> bool:
        return found.elements is None and bool(wanted(found.got, found.expected))

    return instead(judge)


@instead
def anything(case: Any, found: Difference) -> bool:
    """Whatever memory held: nothing can be said of it."""
    return True


def observation(found: Difference) -> str:
    """The name of the observation that differs: the last one of its path, as of ``seen["trail"][2]["names"]``."""
    path = found.path if found.elements is None else found.elements.place
    whole = _OBSERVATION.search(path)
    return _NAME.findall(whole[1])[-1] if whole and _NAME.search(whole[1]) else path


def is_known(wanted: Instead, case: Any, found: Difference) -> bool:
    """Whether a difference on a case is one of those that may come out instead; where nothing is said, any is.

    A table speaks of numbers and other values alone: another kind of difference, such as an error, says itself what
    came out.
    """
    if isinstance(wanted, str):
        return not wanted or any(_is(each, case, found) for each in _alternatives(wanted))
    if found.kind.partition(":")[0] not in NUMERIC:
        return True
    name = observation(found)
    return any(
        _is(each, case, found) for names, text in wanted.items() if _named(name, names) for each in _alternatives(text)
    )


def misnamed(wanted: Instead) -> str | None:
    """What of an entry's ``instead`` nothing is called, or is no literal; None if all is well."""
    for text in [wanted] if isinstance(wanted, str) else wanted.values():
        if not isinstance(text, str):
            return repr(text)
        for each in _alternatives(text):
            try:
                if each not in INSTEAD:
                    _literal(each)
            except (SyntaxError, ValueError):
                return each
    return None


def _alternatives(text: str) -> Iterator[str]:
    """The alternatives that a text names; a literal, which may have commas of its own, stands alone."""
    literal = text.startswith(_LITERALS)
    yield from [text] if literal else filter(None, (name.strip() for name in text.split(",")))


def _named(name: str, patterns: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _alternatives(patterns))


def _is(wanted: str, case: Any, found: Difference) -> bool:
    if not wanted.startswith(_LITERALS):
        try:
            return INSTEAD[wanted](case, found)
        except (TypeError, ValueError, LookupError, AttributeError):
            return False  # what a judgement can't even read, such as a truth value for a list, is not what it speaks of
    value = _literal(wanted)
    if found.elements is not None:
        return False
    if wanted.startswith("="):
        return type(found.got) is type(value) and bool(found.got == value)
    each = found.got if isinstance(found.got, (list, tuple)) else [found.got]
    return bool(each) and all(any(one == known and type(one) is type(known) for known in value) for one in each)


@lru_cache(maxsize=256)
def _literal(text: str) -> Any:
    """The value of ``= 2`` or ``in [1, 2]``."""
    if not text.startswith(_LITERALS):
        raise ValueError(text)
    return ast.literal_eval(text.removeprefix("=").removeprefix("in ").strip())
