"""What came of a law on a case: a closed union, of which nothing is ever inferred from None.

A law itself returns a `Finding`: what `embcheck.core.comparison` makes of an observation, and nothing else.
`embcheck.engine.evaluate.evaluate` is the only place that makes a `Result`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Elements(NamedTuple):
    """All elements of a tensor, of which some ``differ`` from what is expected: three arrays of one shape.

    ``place`` is the Python expression for the tensor, ``beside`` the one for what is expected, if that was observed too.
    """

    got: npt.NDArray[Any]
    expected: npt.NDArray[Any]
    differ: npt.NDArray[np.bool_]
    place: str
    beside: str = ""


@dataclass(frozen=True)
class Difference:
    """How an outcome departs from a law.

    ``kind`` names the sort of difference (a law reports one counterexample of each), ``path`` the first place where
    it shows, ``got`` and ``expected`` what stands there and what should, as Python literals where possible.  Of a
    tensor there are also the ``elements``; ``others`` are further differences of the same outcome from the same law.
    ``beside`` is the place of what is expected, where that is an observation of the same outcome: a script compares the two.
    """

    kind: str
    path: str
    got: Any
    expected: Any
    words: str
    bound: float = 0.0
    bits: bool = False
    elements: Elements | None = field(default=None, compare=False, repr=False)
    others: tuple[Difference, ...] = field(default=(), compare=False, repr=False)
    beside: str = field(default="", compare=False, repr=False)

    def __iter__(self) -> Iterator[Difference]:
        """This one and the others."""
        yield self
        yield from self.others

    def apart(self) -> Iterator[Difference]:
        """This one and the others, those of tensors by the kinds of their elements: each kind as a difference of its own."""
        for each in self:
            yield from each._by_kind()

    def _by_kind(self) -> Iterator[Difference]:
        if self.elements is None:
            yield self
            return
        got, expected, differ, place, beside = self.elements
        sort = self.kind.partition(":")[0]
        places, found, due = np.argwhere(differ), got[differ], expected[differ]
        # Elements of one code have one kind: a tensor may have thousands, and `kind_of` asks a pair at a time.
        code = (found != found) + 2 * ((found == np.inf) | (found == -np.inf)) + 4 * (found == 0) + 8 * (due != due)
        alike: dict[str, Any] = {}
        for one in sorted(np.unique(code, return_index=True)[1]):
            kind = kind_of(sort, found[one].item(), due[one].item())
            alike[kind] = alike.get(kind, False) | (code == code[one])
        for kind, of_kind in alike.items():
            mask, where = np.zeros_like(differ), places[of_kind]
            mask[tuple(where.T)] = True
            first = tuple(map(int, where[0]))
            changes: dict[str, Any] = {"kind": kind, "elements": self.elements._replace(differ=mask), "others": ()}
            if kind != self.kind:
                changes |= {"path": at(place, first), "beside": at(beside, first)}
                changes |= {"got": got[first].item(), "expected": expected[first].item()}
            yield replace(self, **changes)


def at(place: str, position: tuple[int, ...]) -> str:
    """The Python expression for one element of a tensor; empty if none is given for the tensor."""
    return f"{place}[{', '.join(map(str, position))}]" if place and position else place


def kind_of(sort: str, got: Any, expected: Any) -> str:
    """The kind of a difference between two numbers, ``sort`` being the comparison's."""
    special = "NaN" if got != got else "infinity" if got in (np.inf, -np.inf) else ""
    if sort == "bits":
        return f"bits: {special or ('zero' if got == 0 else 'value')}"
    return f"{sort}: {special}" if special and not (got != got and expected != expected) else sort


@dataclass(frozen=True)
class Holds:
    """The law was judged and holds: exactly, or with this ``ratio`` of error to bound.

    ``loose`` says that every bound reached all that it bounds: zeros would have passed, so no obligation is met.
    ``implied_by`` is the law that holds exactly and from which this one follows, so that it was not evaluated itself.

    Raises:
        ValueError: for a ratio that is not from 0 to 1.
    """

    ratio: float | None = None
    loose: bool = False
    implied_by: str = ""

    def __post_init__(self) -> None:
        if self.ratio is not None and not 0 <= self.ratio <= 1:
            raise ValueError(f"a ratio of error to bound lies from 0 to 1 where a law holds, and this is {self.ratio}")


#: The law holds exactly.
HOLDS = Holds()


class Absent(str):
    """Why a case can't be asked where it is that this release of torch has not what it needs: no law owes such a case."""


@dataclass(frozen=True)
class NotApplicable:
    """The law says nothing about this case, or the case can't be asked; ``why`` says so in words.

    What is not ``counted`` goes without saying: that a law about refusals is not asked where nothing is refused.
    """

    why: str
    counted: bool = True


@dataclass(frozen=True)
class Violated:
    difference: Difference


@dataclass(frozen=True)
class Raised:
    """The program raised, so that this law has nothing to look at; that nothing is raised is a law of its own."""

    error: str


@dataclass(frozen=True)
class OracleFailed:
    """embcheck's own law or oracle failed; ``error`` says which and how."""

    error: str


@dataclass(frozen=True)
class Unreachable:
    """The case was not executed, or its outcome did not come back; ``why`` says so in words."""

    why: str


#: A part of a law that says nothing about this case.
UNASKED = NotApplicable("the law says nothing here", counted=False)

#: What a law returns.
Finding = Holds | Difference | NotApplicable
#: What came of a law on a case.
Result = Holds | Violated | NotApplicable | Raised | OracleFailed | Unreachable


def told(result: Result) -> str:
    """What a result that is neither *holds* nor *violated* says, in words."""
    match result:
        case NotApplicable(why):
            return f"not applicable: {why}"
        case Raised(error):
            return f"the program raised {error}"
        case OracleFailed(error):
            return error
        case Unreachable(why):
            return why
        case _:
            return ""


def cut(text: str, letters: int) -> str:
    """A text of at most so many letters: a longer one ends behind a word, and with a mark."""
    return text if len(text) <= letters else shorten(text, letters, placeholder=" …")
