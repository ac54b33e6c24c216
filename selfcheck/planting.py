"""Kernels of ours in the place of ATen's, which call those: they record calls, or spoil those that a fault hits.

They are installed once in a process; what they do is then a matter of `Kernels.watch` and `Kernels.plant`.  The state of a
case, the earlier calls of each site and what those gave, is forgotten with `Kernels.forget`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from selfcheck.damages import DAMAGES, Call, Damage, damaged, differs
from selfcheck.drawn import Fault
from selfcheck.sites import SITES, Facts, Site, Tensor, matrix


class Planted(RuntimeError):
    """What a fault raises whose damage is `RAISE`."""


class Kernels:
    """The kernels of all sites.

    While faults are watched, ``met`` are those that hit a call, ``changed`` those whose damage changes a result.
    """

    def __init__(self) -> None:
        self.planted: tuple[Fault, bool] | None = None
        self.met: set[int] = set()
        self.changed: set[int] = set()
        self._watched: dict[str, list[tuple[int, Fault]]] = {}
        self._calls: Counter[str] = Counter()
        self._previous: dict[str, Tensor] = {}
        self._inside = False
        self._library: Any = None

    # -- what they do ---------------------------------------------------------------------------------------------------

    def watch(self, faults: Iterable[Fault]) -> None:
        """Records from now on which of these faults hit a call, by their position."""
        self._watched = {}
        for position, fault in enumerate(faults):
            self._watched.setdefault(fault.site, []).append((position, fault))

    def plant(self, fault: Fault | None, *, raises: bool = False) -> None:
        """Plants a fault in place of the one before; with ``raises`` it raises instead of doing its damage."""
        self.planted = None if fault is None else (fault, raises)

    def forget(self) -> None:
        """Begins a case: nothing was called yet."""
        self.met, self.changed = set(), set()
        self._calls.clear()
        self._previous.clear()

    # -- how they are installed -----------------------------------------------------------------------------------------

    def install(self) -> None:
        """Replaces ATen's kernels."""
        self._library = torch.library.Library("aten", "IMPL")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a kernel is replaced is the point
            for site in SITES.values():
                kernel = torch.library.get_kernel(f"aten::{site.name}", "CPU")
                self._library.impl(site.name, self._kernel(site, kernel), "CPU", with_keyset=True)

    @contextmanager
    def installed(self) -> Iterator[Kernels]:
        """ATen's kernels replaced, and put back."""
        self.install()
        try:
            yield self
        finally:
            self._library._destroy()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Torch's own functions for a moment; its kernels are always called."""
        yield

    def _kernel(self, site: Site, right: Any) -> Callable[..., Any]:
        def kernel(keys: Any, *given: Any, **named: Any) -> Any:
            def call(changes: Mapping[str, Any]) -> Any:
                places, names = site.unbound({**arguments, **changes})
                return right.call_boxed(keys, *places, **names)

            watched = self._watched.get(site.name, ())
            planted = self.planted if self.planted is not None and self.planted[0].site == site.name else None
            if self._inside or not (watched or planted):
                return right.call_boxed(keys, *given, **named)
            arguments = site.bound(given, named)
            facts = self._facts(site, arguments)
            if facts is None:
                return right.call_boxed(keys, *given, **named)
            told = Call(arguments, facts, self._previous.get(site.name))
            work = self._in_place if site.writes else self._pure
            return work(site, told, call, planted)

        return kernel

    def _facts(self, site: Site, arguments: Mapping[str, Any]) -> Facts | None:
        with self._aside():
            facts = site.facts(arguments)
        if facts is None:
            return None
        earlier = self._calls[site.name]
        self._calls[site.name] += 1
        return facts | {"earlier": earlier, "threads": torch.get_num_threads()}

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """What is called here is no call of the case's."""
        before, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = before

    # -- a call ---------------------------------------------------------------------------------------------------------

    def _pure(
        self, site: Site, told: Call, call: Callable[[Mapping[str, Any]], Any], planted: tuple[Fault, bool] | None
    ) -> Any:
        """A kernel that returns what it makes."""
        result = call({})
        with self._aside():
            self._record(site, told, result, call)
            if planted is not None:
                result = self._spoilt(planted, told, result, call)
            self._previous[site.name] = matrix(result)
        return result

    def _in_place(
        self, site: Site, told: Call, call: Callable[[Mapping[str, Any]], Any], planted: tuple[Fault, bool] | None
    ) -> Any:
        """A kernel that writes to its first argument, which each damage is given a copy of."""
        name, table = next(iter(told.given.items()))
        with self._aside():
            before = table.detach().clone()
        result = call({})

        def again(changes: Mapping[str, Any]) -> Any:
            return call({name: before.clone(), **changes})

        with self._aside():
            after = table.detach().clone()
            self._record(site, told, after, again)
            if planted is not None:
                spoilt = self._spoilt(planted, told, after, again)
                if spoilt is not after:
                    table.detach().copy_(spoilt)
            self._previous[site.name] = matrix(after)
        return result

    def _record(self, site: Site, told: Call, result: Any, again: Callable[[Mapping[str, Any]], Any]) -> None:
        same: dict[str, bool] = {}
        for position, fault in self._watched.get(site.name, ()):
            if not fault.met(told.facts):
                continue
            self.met.add(position)
            if fault.damage not in same:
                same[fault.damage] = not differs(result, _damaged(DAMAGES[fault.damage], told, result, again))
            if not same[fault.damage]:
                self.changed.add(position)

    def _spoilt(
        self, planted: tuple[Fault, bool], told: Call, result: Any, again: Callable[[Mapping[str, Any]], Any]
    ) -> Any:
        fault, raises = planted
        if not fault.met(told.facts):
            return result
        if raises:
            raise Planted(str(fault))
        return _damaged(DAMAGES[fault.damage], told, result, again)


def _damaged(damage: Damage, told: Call, result: Any, again: Callable[[Mapping[str, Any]], Any]) -> Any:
    try:
        return damaged(damage, told, result, again)
    except (RuntimeError, IndexError):
        return result  # the kernel refuses the changed arguments: no such fault
