"""The domain of a subject: for what its author promises that it is right, and what lies outside of that.

A case outside is *not applicable*, with the reason; the nearest case inside is judged in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from embcheck.core.format import FORMATS

#: The dtypes of indices.
INDEX_DTYPES = ("int64", "int32")
#: The ranks of indices that are fed.
RANKS = range(5)
#: The states of a module in which it may be declared to be right.
STATES = ("train", "eval")

#: What of a domain can be declared.
PARTS = frozenset({"ranks", "dtypes", "max_length", "min_rows", "min_dim", "modes", "finite", "random"})

#: Histories that call a layer with indices of other ranks than the case's, and one that does with another index dtype.
_OTHER_RANKS = frozenset({"other_shape", "after_error", "longer_between"})
_OTHER_INDICES = "other_index_dtype"
#: A route that does, and the one that is like it otherwise.
_SAME_RANK = {"two_shapes": "two_lookups"}
#: Regimes of values with NaN or infinity among them, by axis, and those that stand in for them.
_FINITE = {
    "values": dict.fromkeys(("special", "poisoned", "vast"), "fingerprint") | {"mixed": "real"},
    "upstream": {"special": "code"},
    "weights": {"special": "small"},
}
#: The axes of a table's size, and those of dtypes, by what is declared of them.
_LEAST = {"embedding_dim": "min_dim", "num_embeddings": "min_rows"}
_DTYPES = {"dtype": "dtypes", "index_dtype": "index_dtypes", "offset_dtype": "index_dtypes"}
#: Modes of execution in which a layer is in another state than the one in which it was built.
_STATE_OF = {"train": "train", "eval": "eval", "serving": "eval"}


#: What stands in for a flag's value that a constructor refuses, the first that it takes; padding is counted from the other
#: end, and if no row there is taken either, there is none.
_INSTEAD: dict[str, tuple[Any, ...]] = {
    "mode": ("sum", "mean", "max"),
    "max_norm": (1.0, 2.5, None),
    "norm_type": (2.0,),
    "scale_grad_by_freq": (False,),
    "sparse": (False,),
    "include_last_offset": (False,),
    "bias": (False, True),
}


class Unsuited(Exception):
    """A case that can't be asked of a subject, as building it shows; the message says why."""


@dataclass(frozen=True)
class Domain:
    """``ranks`` of indices, whose last axis has at most ``max_length`` tokens, ``dtypes`` of tables and ``index_dtypes`` of
    indices (None: all); tables have at least ``min_rows`` rows and ``min_dim`` columns; ``states`` are *train* and *eval*;
    ``finite`` says that no number is NaN or infinite, ``random`` that two equal calls may differ.  ``refuses`` gives the reason why
    the constructor does not take a value of one of its ``flags``, None if it does.
    """

    ranks: frozenset[int] | None = None
    dtypes: frozenset[str] | None = None
    index_dtypes: frozenset[str] | None = None
    min_rows: int = 1
    min_dim: int = 1
    states: frozenset[str] = frozenset(STATES)
    finite: bool = False
    random: bool = False
    max_length: int | None = None
    flags: tuple[str, ...] = ()
    refuses: Callable[[str, Any], str | None] = lambda flag, value: None

    @classmethod
    def declared(
        cls,
        *,
        ranks: Iterable[int] | None = None,
        dtypes: Iterable[Any] | None = None,
        min_rows: int = 1,
        min_dim: int = 1,
        modes: Iterable[str] | None = None,
        finite: bool = False,
        random: bool = False,
        max_length: int | None = None,
    ) -> Domain:
        """The domain that these arguments of `declare` say; a dtype is a name or torch's own.

        Raises:
            ValueError: for what is none; one line.
        """
        names = {str(dtype).removeprefix("torch.") for dtype in _several("dtypes", () if dtypes is None else dtypes)}
        if unknown := sorted(names - {*FORMATS, *INDEX_DTYPES}):
            there = ", ".join((*FORMATS, *INDEX_DTYPES))
            raise ValueError(f"no dtype {unknown[0]!r} of a table or of indices; there are {there}")
        chosen = None if ranks is None else frozenset(_several("ranks", ranks))
        if chosen is not None and not (chosen and chosen <= {*RANKS}):
            raise ValueError(f"ranks={_written(chosen)}: expected numbers of axes from 0 to {RANKS[-1]}, such as {{2}}")
        states = frozenset(STATES if modes is None else _several("modes", modes))
        if not (states and states <= {*STATES}):
            raise ValueError(f"modes={_written(states)}: expected {{'eval'}} or {{'train'}}")
        longest = 1 if max_length is None else max_length
        for name, number, least in (("min_rows", min_rows, 0), ("min_dim", min_dim, 0), ("max_length", longest, 1)):
            if type(number) is not int or number < least:
                raise ValueError(f"{name}={number!r}: expected a number of at least {least}")
        tables, indices = (frozenset(names.intersection(kinds)) or None for kinds in (FORMATS, INDEX_DTYPES))
        return cls(chosen, tables, indices, min_rows, min_dim, states, finite, random, max_length)

    def outside(self, case: Any, mode: str = "") -> str | None:
        """Why a case, or all cases of a mode, lie outside; None if they don't."""
        state = _STATE_OF.get(mode)
        if state is not None and state not in self.states:
            return f"the layer in {state}(): modes={_written(self.states)} is declared"
        rows, width = size_of(case)
        for number, thing, name in ((width, "column", "min_dim"), (rows, "row", "min_rows")):
            if number < (least := getattr(self, name)):
                usual = "the default" if least == 1 else "declared"
                return f"tables of {number or 'no'} {thing}{'s' * (number != 1)}: {name}={least} is {usual}"
        for axis, chosen in self._wrong_dtypes(case).items():
            what = "tables" if axis == "dtype" else "indices"
            return f"{what} of {getattr(case, axis)}: dtypes={_written(chosen)} is declared"
        if self.ranks is not None and _rank(case) not in self.ranks:
            return f"indices of rank {_rank(case)}: ranks={_written(self.ranks)} is declared"
        if self._too_long(getattr(case, "shape", ())):
            return f"sequences of {case.shape[-1]} tokens: max_length={self.max_length} is declared"
        if self.finite and not all(self.admits(axis, getattr(case, axis, None)) for axis in _FINITE):
            return "NaN and infinity: finite=True is declared"
        return next((self.refuses(flag, getattr(case, flag)) for flag in self._wrong_flags(case)), None)

    def admits(self, axis: str, value: Any) -> bool:
        """Whether a value of an axis lies inside."""
        if axis in _LEAST:
            return bool(value >= getattr(self, _LEAST[axis]))
        if axis in _DTYPES:
            chosen = getattr(self, _DTYPES[axis])
            return not chosen or value in chosen
        if axis == "shape":
            return (self.ranks is None or len(value) in self.ranks) and not self._too_long(value)
        if axis in self.flags:
            return self.refuses(axis, value) is None
        return not (self.finite and value in _FINITE.get(axis, ()))

    def _too_long(self, shape: tuple[int, ...]) -> bool:
        """Whether the last axis of indices has too many tokens."""
        return self.max_length is not None and shape[-1:] > (self.max_length,)

    def within(self, axis: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Those values of an axis that lie inside, or all where none does."""
        return tuple(value for value in values if self.admits(axis, value)) or values

    def _wrong_flags(self, case: Any) -> list[str]:
        """The axes of flags whose values the constructor refuses."""
        return [flag for flag in self.flags if flag in case._fields and not self.admits(flag, getattr(case, flag))]

    def _wrong_dtypes(self, case: Any) -> dict[str, frozenset[str]]:
        """The axes whose dtype, of a table, of indices or of a bag's offsets, is none of those that are declared: these."""
        fed = [axis for axis in _DTYPES if axis != "offset_dtype" or not getattr(case, "batch", True)]
        declared = {axis: getattr(self, _DTYPES[axis]) for axis in fed}
        return {axis: chosen for axis, chosen in declared.items() if chosen and getattr(case, axis) not in chosen}

    def narrowed(self, case: Any) -> Any:
        """The nearest case inside, but for what its family makes of it; None if there is none."""
        given = size_of(case)
        changes: dict[str, Any] = {}
        rows, width = size = max(given[0], self.min_rows), max(given[1], self.min_dim)
        if size != given:
            of_table = hasattr(case, "num_embeddings")
            case = case.but(num_embeddings=rows, embedding_dim=width) if of_table else case.but(shape=size)
        for axis, chosen in self._wrong_dtypes(case).items():
            there = [name for name in (FORMATS if axis == "dtype" else INDEX_DTYPES) if name in chosen]
            changes[axis] = there[case.seed % len(there)]  # one after the other: all are met
        for axis, instead in _FINITE.items():
            if not self.admits(axis, value := getattr(case, axis, None)):
                changes[axis] = instead[str(value)]
        for flag in self._wrong_flags(case):
            value = getattr(case, flag)
            others = _INSTEAD.get(flag) or (value + rows if value < 0 else value - rows, rows - 1, 0, None)
            taken = [other for other in others if self.admits(flag, other)]
            if not taken:
                return None
            changes[flag] = taken[0]
        case = case.but(**changes) if changes else case
        case = case if self.ranks is None else _ranked(case, self.ranks)
        return case if self.max_length is None or case is None else _folded(case, self.max_length)

    def calm(self, case: Any) -> Any:
        """The case without an earlier call, or a second one, that lies outside."""
        changes: dict[str, Any] = {}
        reshaped = self.ranks is not None or self.max_length is not None
        history, route = getattr(case, "history", ""), getattr(case, "route", "")
        if (reshaped and history in _OTHER_RANKS) or (self.index_dtypes is not None and history == _OTHER_INDICES):
            changes["history"] = "repeated"
        if self.max_length is not None and history.endswith("_longer"):
            changes["history"] = history.replace("_longer", "_alike")
        if reshaped and route in _SAME_RANK:
            changes["route"] = _SAME_RANK[route]
        return case.but(**changes) if changes else case


#: What a subject is asked for about which nothing is declared.
USUAL = Domain()


def _several(name: str, given: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"{name}={given!r}: expected a set, such as {{{given!r}}}")
    return tuple(given)


def _written(values: Iterable[Any]) -> str:
    return "{" + ", ".join(map(repr, sorted(values, key=str))) + "}"


def size_of(case: Any) -> tuple[int, int]:
    """Rows and columns of a case's table."""
    if hasattr(case, "num_embeddings"):
        return case.num_embeddings, case.embedding_dim
    rows, width = case.shape  # a training run has no more
    return rows, width


def _rank(case: Any) -> int:
    return (2 if case.batch else 1) if hasattr(case, "batch") else len(case.shape)


def _ranked(case: Any, ranks: frozenset[int]) -> Any:
    """The same tokens in a shape of one of these ranks."""
    if _rank(case) in ranks:
        return case
    if hasattr(case, "batch"):
        wanted = {1: False, 2: True}
        return next((case.but(batch=wanted[rank]) for rank in sorted(ranks) if rank in wanted), None)
    shape = case.shape
    rank = min((rank for rank in ranks if rank > len(shape)), default=max(ranks))
    if rank > len(shape):
        return case.but(shape=(1,) * (rank - len(shape)) + shape)
    if rank == 0:
        return case.but(shape=()) if math.prod(shape) == 1 else None
    return case.but(shape=(math.prod(shape[: len(shape) - rank + 1]), *shape[len(shape) - rank + 1 :]))


def _folded(case: Any, length: int) -> Any:
    """As many tokens or more in sequences of at most a length, or of rank 1 its first ones; None where they are listed."""
    *leading, last = case.shape or (1,)
    if last <= length:
        return case
    folded = (leading[0] * math.ceil(last / length), *leading[1:], length) if leading else (length,)
    return None if isinstance(case.indices, tuple) else case.but(shape=folded)
