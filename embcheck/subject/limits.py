"""What the constructor of a subject refuses: limits that it states, found by one flag at a time, once for each layer."""

import dis
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from embcheck.core.declaration import Declaration, SubjectError, name_of, passed, unlike
from embcheck.core.result import cut

#: By these errors, and a ``raise`` or an ``assert`` that is written out, a constructor states a limit.  Another error, or
#: one that an operation stumbled into, may be a mistake: embcheck can't tell.
STATED = (ValueError, TypeError, NotImplementedError, AssertionError)
#: What flags are set to, to see whether the constructor takes them at all; a number below 0 is counted from the rows.
_TRIED: dict[str, tuple[Any, ...]] = {
    "padding_idx": (1, 0, -1),
    "max_norm": (1.0, 2.5, 100.0),
    "norm_type": (2.0, 1.0, 3.0),
    "scale_grad_by_freq": (True,),
    "sparse": (True,),
    "include_last_offset": (True,),
    "mode": ("sum", "mean", "max"),
    "bias": (True, False),
}
#: Flags that are on or off: what refuses to set one has it nevertheless, switched off.
SWITCHES = frozenset({"scale_grad_by_freq", "sparse", "include_last_offset"})
#: A row of each kind that may be padding.
_ROWS = {"first": 0, "positive": 1, "negative": -1}


@dataclass(frozen=True)
class Limits:
    """What a constructor takes of the flags that it is asked for.

    ``taken`` are those that it is given, ``said`` those among them that must always be, since its defaults are not torch's,
    ``lacks`` the reasons for those that it has not.  ``size`` is one of a table that it takes.
    """

    factory: Callable[..., Any]
    size: tuple[int, int]
    taken: frozenset[str]
    said: Mapping[str, Any]
    lacks: Mapping[str, str]
    _known: dict[Any, str | None] = field(default_factory=dict, repr=False, compare=False)

    def refuses(self, flag: str, value: Any) -> str | None:
        """Why the constructor does not take a value of a flag, None if it does.

        Of padding it is asked for all rows of a kind, the first, the others, those counted from the end: a constructor that
        refuses only some of them does not count rows as it should, and that is no limit.
        """
        if flag not in self.taken or value is None:
            return None
        values: Sequence[Any] = (value,)
        key = flag, value
        if flag == "padding_idx":
            kind, rows = _kind(value), self.size[0]
            values = {"first": range(1), "positive": range(1, rows), "negative": range(-1, -rows - 1, -1)}[kind]
            key = flag, kind
        if key not in self._known:
            self._known[key] = self._stated(flag, values)
        return self._known[key]

    def _stated(self, flag: str, values: Sequence[Any]) -> str | None:
        errors = [self._raised({flag: value}) for value in values]
        if errors[0] is None or not all(error is not None and states(error) for error in errors):
            return None
        return f"its constructor refuses {flag}={values[0]!r}: {one_line(errors[0])}"

    def of_table(self, rows: int, width: int, error: BaseException) -> str | None:
        """Why it takes no table of this size whatever the flags, None if it does."""
        try:
            self.factory(rows, width, **self.said)
        except (ValueError, AssertionError):
            return f"its constructor refuses such a table: {one_line(error)}"
        except Exception:
            return None
        return None

    def of_pairs(self, given: Mapping[str, Any]) -> str | None:
        """Why it takes no two of these flags together that it takes alone, None if it does."""
        usual = {flag: value for flag, value in given.items() if value is not None and value is not False}
        if "padding_idx" in usual:
            usual["padding_idx"] = _ROWS[_kind(usual["padding_idx"])]
        for pair in combinations(sorted(usual.items()), 2):
            if pair not in self._known:
                self._known[pair] = self._together(*pair)
            if self._known[pair] is not None:
                return self._known[pair]
        return None

    def _together(self, one: tuple[str, Any], other: tuple[str, Any]) -> str | None:
        error = self._raised(dict((one, other)))
        if error is None or not states(error) or self._raised(dict((one,))) or self._raised(dict((other,))):
            return None
        return f"its constructor refuses {one[0]}={one[1]!r} with {other[0]}={other[1]!r}: {one_line(error)}"

    def _raised(self, flags: Mapping[str, Any]) -> Exception | None:
        return raised(self.factory, self.size, {**self.said, **flags})


def limits_of(
    factory: Callable[..., Any], declared: Declaration, flags: tuple[str, ...], model: Any, size: tuple[int, int]
) -> Limits:
    """What a subject's constructor takes of the ``flags`` of torch's ``model``.

    Raises:
        SubjectError: if a flag of its signature can't be set, and it does not state that as a limit; one line.
    """
    asked = passed(factory, declared, flags)
    said, lacks = unlike(factory, model, asked), {}
    for flag, value in [*said.items()]:
        why = raised(factory, size, {flag: value})
        if why is not None and flag == "mode":  # a bag may have others, of which each case says one
            del said[flag]
        elif why is not None:
            raise SubjectError(_told(factory, flag, value, why))
    usual = said if raised(factory, size, said) is None else {}
    for flag in sorted(asked):
        tried = {value: raised(factory, size, {**usual, flag: value}) for value in _TRIED[flag]}
        refused = {value: why for value, why in tried.items() if why is not None}
        if not refused:
            continue
        value, why = next(iter(refused.items()))
        if isinstance(why, TypeError) and "keyword argument" in str(why):
            lacks[flag] = f"{flag} can't be passed: {one_line(why)}"
        elif not all(map(states, refused.values())) or (flag == "mode" and len(refused) == len(tried)):
            raise SubjectError(_told(factory, flag, value, why))
        elif len(refused) == len(tried) and flag not in SWITCHES:
            lacks[flag] = f"its constructor refuses {flag}={value!r}: {one_line(why)}"
    taken = asked - lacks.keys()
    for flag in flags:
        if flag not in asked and flag not in declared.fixed:
            lacks[flag] = declared.lacks.get(flag, f"{factory.__qualname__} has no {flag}")
    return Limits(factory, size, taken, {flag: said[flag] for flag in said if flag in taken}, lacks)


def raised(factory: Callable[..., Any], size: tuple[int, int], flags: Mapping[str, Any]) -> Exception | None:
    """What a constructor raises with these flags; None if it takes them."""
    try:
        factory(*size, **flags)
    except Exception as error:
        return error
    return None


def _told(factory: Callable[..., Any], flag: str, value: Any, why: BaseException) -> str:
    return (
        f"{name_of(factory)}: {flag}={value!r} is refused: {one_line(why)}; if it has no {flag}, declare "
        f'lacks={{"{flag}": "why"}}, and if it sets it itself, fixed={{"{flag}": …}}'
    )


def states(error: BaseException) -> bool:
    """Whether an error is the limit that somebody wrote down: by ``raise`` or ``assert``, in Python."""
    trace = error.__traceback__
    if not isinstance(error, STATED) or trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _kind(padding: Any) -> str:
    """The kind of a row that may be padding, or of its name on a table's axis."""
    if padding == "-V" or (isinstance(padding, int) and padding < 0):
        return "negative"
    return "first" if padding == 0 else "positive"


def one_line(error: BaseException) -> str:
    """An error as a part of a line."""
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {cut(first[0], 160)}" if first else type(error).__name__
