"""What came out of executing a case, as numpy sees it.

A program returns a dictionary of observations.  `Outcome` hands each to the laws as a `Field`: the value, where it
came from (its path, which the counterexample's script prints too) and, for a tensor, its metadata.  Nothing is
converted before a law asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from embcheck.format import FORMATS, Array

#: Turns an observed tensor into its elements in storage (`Format.storage` for a floating dtype).
Reader = Callable[[Any], Array]

#: What happened to an input whose surroundings changed; its own elements may have changed too.
AROUND = "memory around it was written"


class Field:
    """One observation, or a part of one.

    ``path`` is the Python expression, over ``seen``, that gives the same thing in a counterexample's script.
    """

    __slots__ = ("_part", "_reader", "_stored", "path", "raw")

    def __init__(self, raw: Any, path: str, reader: Reader, stored: Array | None = None) -> None:
        self.raw = raw
        self.path = path
        self._reader = reader
        self._stored = stored
        self._part = stored is not None

    @property
    def place(self) -> str:
        """The path of the elements: a sparse tensor's are those of its dense form."""
        whole_sparse = not self._part and self.is_tensor and self.raw.is_sparse
        return f"{self.path}.to_dense()" if whole_sparse else self.path

    def __getitem__(self, key: Any) -> Field:
        """A part of the elements; the metadata stays that of the whole."""
        place = self.place
        if isinstance(key, np.ndarray):
            key = np.flatnonzero(key) if key.dtype == np.bool_ else key
            shown = repr(key.tolist())
        else:
            shown = repr(key) if not isinstance(key, slice) else f"{key.start or ''}:{key.stop or ''}:{key.step or ''}"
        return Field(self.raw, f"{place}[{shown}]", self._reader, self.stored[key])

    def meta(self, name: str) -> Field:
        """Metadata of an observed tensor as a plain value: ``shape``, ``dtype``, ``device``, ``layout`` (as torch
        spells them, without the prefix), ``requires_grad``, ``is_leaf``, ``is_sparse``, ``is_contiguous``…"""
        found = getattr(self.raw, name)
        path = f"{self.path}.{name}"
        if callable(found):
            found, path = found(), f"{path}()"
        if name == "shape":
            found, path = tuple(found), f"tuple({path})"
        elif name in ("dtype", "device", "layout"):
            found, path = str(found).removeprefix("torch."), f'str({path}).removeprefix("torch.")'
        return Field(found, path, self._reader)

    @property
    def is_tensor(self) -> bool:
        """Whether a tensor was observed (a number, a string, None otherwise)."""
        return hasattr(self.raw, "is_sparse")

    @property
    def dtype_name(self) -> str:
        """The tensor's dtype as torch spells it, without the prefix."""
        return str(self.raw.dtype).removeprefix("torch.")

    @property
    def stored(self) -> Array:
        """The elements in storage; a sparse tensor is densified by adding duplicates in float64."""
        if self._stored is None:
            self._stored = self._reader(self.raw)
        return self._stored

    @property
    def values(self) -> Array:
        """The elements as float64, or as they are for integers and booleans."""
        fmt = FORMATS.get(self.dtype_name)
        return self.stored if fmt is None else fmt.decode(self.stored)

    @property
    def bits(self) -> Array:
        """The elements' bit patterns."""
        fmt = FORMATS.get(self.dtype_name)
        return self.stored if fmt is None else fmt.to_bits(self.stored)


class Refused(Exception):
    """A law asked for an observation of a program that raised."""


class Outcome:
    """The observations of one execution, the error it raised if any, and what it wrote to its inputs."""

    __slots__ = ("_reader", "_written", "error", "mode", "seen")

    def __init__(
        self,
        seen: Mapping[str, Any],
        reader: Reader,
        *,
        mode: str = "eager",
        error: BaseException | None = None,
        written: Callable[[], dict[str, str]] | None = None,
    ) -> None:
        self.seen = seen
        self.mode = mode
        self.error = error
        self._reader = reader
        self._written = written

    def __getattr__(self, name: str) -> Field:
        if self.error is not None:
            raise Refused(name) from self.error
        try:
            return Field(self.seen[name], f'seen["{name}"]', self._reader)
        except KeyError:
            raise AttributeError(f"no observation {name!r}; there are {', '.join(self.seen)}") from None

    def __contains__(self, name: str) -> bool:
        return name in self.seen

    def written(self) -> dict[str, str]:
        """For each input that changed, or whose surroundings did, what happened to it, in words."""
        return self._written() if self._written is not None else {}
