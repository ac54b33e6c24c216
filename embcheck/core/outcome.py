"""What came out of executing a case, as numpy sees it.

A program returns a dictionary of observations.  `Outcome` hands each to the laws as a `Field`: the value, where it
came from (its path, which the counterexample's script prints too) and, for a tensor, its metadata.  Nothing is
converted before a law asks for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embcheck.core.format import FORMATS, Array, Format

#: Turns an observed tensor into its elements in storage (`Format.storage` for a floating dtype).
Reader = Callable[[Any], Array]

#: Metadata that is told as torch spells it.
_SPELT = frozenset({"dtype", "device", "layout"})

#: What happened to an input whose surroundings changed; its own elements may have changed too.
AROUND = "memory around it was written"


class Missing(Exception):
    """A law asked for the elements or the metadata of an observation that is None: nothing came out there.

    ``path`` is that of the observation.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is None")
        self.path = path


class ProcessDied(Exception):
    """The process that executed a case alone died, or came to no end; the message is its symptom: ``crash SIGSEGV``."""


class Field:
    """One observation, or a part of one.

    ``path`` is the Python expression, over ``seen``, that gives the same thing in a counterexample's script.
    """

    __slots__ = ("_format", "_part", "_path", "_reader", "_stored", "raw")

    def __init__(self, raw: Any, path: str | Callable[[], str], reader: Reader, stored: Array | None = None) -> None:
        self.raw = raw
        self._path = path
        self._reader = reader
        self._stored = stored
        self._part = stored is not None
        self._format: Format | Literal[False] | None = False  # not looked up yet

    @property
    def path(self) -> str:
        """The Python expression; put together when it is asked for, which only a failure does."""
        if not isinstance(self._path, str):
            self._path = self._path()
        return self._path

    @property
    def place(self) -> str:
        """The path of the elements: a sparse tensor's are those of its dense form."""
        whole_sparse = not self._part and self.is_tensor and self.raw.is_sparse
        return f"{self.path}.to_dense()" if whole_sparse else self.path

    def __getitem__(self, key: Any) -> Field:
        """A part of the elements; the metadata stays that of the whole."""
        return Field(self.raw, lambda: f"{self.place}[{_shown(key)}]", self._reader, self.stored[key])

    def entry(self, *keys: Any) -> Field:
        """What an observed list or dictionary holds there: ``out.trail.entry(2, "names")``."""
        raw = self.raw
        for key in keys:
            raw = raw[key]

        def path() -> str:  # with the quotes of an outcome's own
            return self.path + "".join(f'["{key}"]' if isinstance(key, str) else f"[{key!r}]" for key in keys)

        return Field(raw, path, self._reader)

    def derived(self, expression: str) -> Field:
        """What an expression gives in which ``{}`` stands for the observation, as a plain value: a script computes the same,
        ``out.names.derived("len({})")``."""
        value = eval(_compiled(expression.replace("{}", "it")), {"it": self.raw})
        return Field(value, lambda: expression.replace("{}", self.path), self._reader)

    def meta(self, name: str) -> Field:
        """Metadata of an observed tensor as a plain value: ``shape``, ``dtype``, ``device``, ``layout`` (as torch
        spells them, without the prefix), ``requires_grad``, ``is_leaf``, ``is_sparse``, ``is_contiguous``…"""
        plain = self.plain(name)
        if name == "shape":
            return Field(plain, lambda: f"tuple({self.path}.{name})", self._reader)
        if name in _SPELT:
            return Field(plain, lambda: f'str({self.path}.{name}).removeprefix("torch.")', self._reader)
        called = "()" if callable(getattr(self.raw, name)) else ""
        return Field(plain, lambda: f"{self.path}.{name}{called}", self._reader)

    def plain(self, name: str) -> Any:
        """The metadata itself, without a path.

        Raises:
            Missing: if nothing was observed.
        """
        if self.raw is None:
            self.require()
        found = getattr(self.raw, name)
        if name == "shape":
            return tuple(found)
        if name in _SPELT:
            return _spelt(found)
        return found() if callable(found) else found

    def require(self) -> Field:
        """This observation, if something was observed.

        Raises:
            Missing: if it is None.
        """
        if self.raw is None and not self._part:
            raise Missing(self.path)
        return self

    @property
    def is_tensor(self) -> bool:
        return hasattr(self.raw, "is_sparse")

    @property
    def format(self) -> Format | None:
        """The tensor's number format; None for integers and booleans."""
        if self._format is False:
            self.require()
            self._format = FORMATS.get(_spelt(self.raw.dtype))
        return self._format

    @property
    def stored(self) -> Array:
        """The elements in storage; a sparse tensor is densified by adding duplicates in float64."""
        if self._stored is None:
            self.require()
            self._stored = self._reader(self.raw)
        return self._stored

    @property
    def values(self) -> npt.NDArray[Any]:
        """The elements as float64, or as they are for integers and booleans."""
        fmt = self.format
        return self.stored if fmt is None else fmt.decode(self.stored)

    @property
    def bits(self) -> Array:
        fmt = self.format
        return self.stored if fmt is None else fmt.to_bits(self.stored)


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> CodeType:
    return compile(expression, expression, "eval")


@lru_cache(maxsize=64)
def _spelt(kind: Any) -> str:
    """A dtype, device or layout as torch spells it, without the prefix."""
    return str(kind).removeprefix("torch.")


def _shown(key: Any) -> str:
    """An index as Python writes it between brackets."""
    if isinstance(key, tuple) and key:
        return ", ".join(map(_shown, key))
    if isinstance(key, slice):
        return ":".join("" if part is None else str(part) for part in (key.start, key.stop, key.step))
    if isinstance(key, np.ndarray) and key.dtype == np.bool_:
        return ", ".join(repr(axis.tolist()) for axis in key.nonzero())
    return repr(key.tolist() if isinstance(key, (np.ndarray, np.generic)) else key)


class Refused(Exception):
    """A law asked for an observation of a program that raised; the message says for which, and what it raised."""


class Unobserved(AttributeError):
    """A law asked for an observation that its program does not make; the message says for which, and what there is."""


#: What an outcome says of its execution, and what else it has itself.
_OBSERVED = frozenset({"device", "error", "keeps_memory", "makes_graph", "mode", "seen", "settings"})
_OWN = _OBSERVED | {"but", "last_read", "with_zeros", "written"}


class Outcome:
    """The observations of one execution, the error it raised if any, and what it wrote to its inputs.

    ``makes_graph`` says whether the mode makes a graph, ``keeps_memory`` whether its table is the memory that was
    given, ``device`` where it ran, ``settings`` what of torch's settings the program left changed: by the expression
    that tells one, what it is and what it was.

    Raises:
        ValueError: for an observation with one of these names, which no law could see.
    """

    # A dictionary beside the slots keeps what was read: the next law then has it without `__getattr__`.
    __slots__ = ("__dict__", "_last", "_reader", "_written", *sorted(_OBSERVED))

    def __init__(
        self,
        seen: Mapping[str, Any],
        reader: Reader,
        *,
        mode: str = "eager",
        makes_graph: bool = True,
        keeps_memory: bool = True,
        device: str = "cpu",
        error: BaseException | None = None,
        written: Callable[[], dict[str, str]] | None = None,
        settings: Mapping[str, tuple[Any, Any]] | None = None,
    ) -> None:
        if not _OWN.isdisjoint(seen):
            raise ValueError(f"an observation can't be called {', '.join(sorted(_OWN & seen.keys()))}")
        self.seen = seen
        self.mode, self.makes_graph, self.keeps_memory, self.device = mode, makes_graph, keeps_memory, device
        self.error, self.settings = error, settings or {}
        self._reader, self._written = reader, written
        self._last: str | None = None

    def __getattr__(self, name: str) -> Field:
        if self.error is not None:
            raise Refused(f"{name!r}, though the program raised {type(self.error).__name__}") from self.error
        try:
            found = Field(self.seen[name], f'seen["{name}"]', self._reader)
        except KeyError:
            raise Unobserved(f"{name!r}, which the program does not give; it gives {', '.join(self.seen)}") from None
        if self._last is None:
            self.__dict__[name] = found
        else:
            self._last = name
        return found

    def __contains__(self, name: str) -> bool:
        return name in self.seen

    def along_first_axis(self, name: str) -> list[Field]:
        """An observation's parts along its first axis; none if there is no such observation."""
        if name not in self:
            return []
        whole: Field = getattr(self, name)
        return [whole[place] for place in range(len(whole.values))]

    def last_read(self, read: Callable[[Outcome], object]) -> tuple[str, Any]:
        """The path and the content, as plain Python values, of the observation that a function reads last before it raises."""
        again = self._with(self.seen, self._reader)
        again._last = ""  # from now on nothing is kept, so that each reading is seen
        with contextlib.suppress(Exception):
            read(again)
        if not again._last:
            return "seen", None
        field: Field = getattr(self, again._last)
        return field.path, field.values.tolist() if field.is_tensor else field.raw

    def but(self, **seen: Any) -> Outcome:
        """The same with other observations in place of some."""
        return self._with({**self.seen, **seen}, self._reader)

    def with_zeros(self) -> Outcome:
        """The same with zeros in place of every number that was observed."""
        zeros = {name: _zeros(value) for name, value in self.seen.items()}
        return self._with(zeros, lambda raw: np.zeros_like(self._reader(raw)))

    def _with(self, seen: Mapping[str, Any], reader: Reader) -> Outcome:
        told = {name: getattr(self, name) for name in _OBSERVED - {"seen"}}
        return Outcome(seen, reader, written=self._written, **told)

    def written(self) -> dict[str, str]:
        """For each input that changed, or whose surroundings did, what happened to it, in words."""
        return self._written() if self._written is not None else {}


def _zeros(value: Any) -> Any:
    """A plain value with zeros in place of its numbers; a tensor's are read as zeros."""
    if isinstance(value, dict):
        return {key: _zeros(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_zeros, value))
    return type(value)(0) if type(value) in (int, float, complex) else value
