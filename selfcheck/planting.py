"""Kernels and functions of ours in the place of torch's, which call those: they record calls, or spoil those that a fault hits.

They are installed once in a process; what they do is then a matter of `Sites.watch` and `Sites.plant`.  The state of a case,
the earlier calls of each site and what those gave, is forgotten with `Sites.forget`.  A call within a call of the same site,
as a module's of its parts, is none of its own.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.jit._builtins import _find_builtin, _register_builtin

from embcheck.core.facts import holds
from selfcheck.damages import Damage
from selfcheck.drawn import Fault, damage_of
from selfcheck.fault import patched
from selfcheck.kernels import SITES
from selfcheck.python_sites import PYTHON_SITES
from selfcheck.site import Call, Facts, Site, Tensor
from selfcheck.tensor_plans import Plan, differs, matrix, put, snapshot, tensor_of

_ANY = inspect.signature(lambda *args, **kwargs: None)
Function = Callable[..., Any]
#: What TorchScript was told stands for an operator stays: it knows it by its id, which another function would get.
_registered: list[Function] = []


class Planted(RuntimeError):
    """What a fault raises that is planted to raise."""


class Watched:
    """Faults of a site, each with its position, the texts that a call meets which it hits, and a damage: a call is asked once for
    each text, however many faults have it."""

    def __init__(self, faults: Sequence[tuple[int, Sequence[str], str]]) -> None:
        positions, texts, damages = zip(*faults, strict=True)
        self._texts = tuple(dict.fromkeys(chain.from_iterable(texts)))
        place, longest = {text: k for k, text in enumerate(self._texts)}, max(map(len, texts))
        filled = ((*each, *each[-1:] * (longest - len(each))) for each in texts)
        self._places = np.array([[place[text] for text in each] for each in filled])
        self._positions, self._damages = np.array(positions), np.array(damages)

    def met(self, facts: Facts) -> dict[str, list[int]]:
        """The faults that hit a call with these facts, by their damages."""
        held = np.array([holds(text, facts) for text in self._texts])[self._places].all(axis=1)
        positions, damages = self._positions[held], self._damages[held]
        return {str(name): positions[damages == name].tolist() for name in np.unique(damages)}


class Sites:
    """The kernels of all sites, and those functions of Python that have these names.

    While faults are watched, ``met`` are those that hit a call, ``changed`` those whose damage changes a result.
    """

    kernels: Mapping[str, Site] = SITES

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.planted: tuple[Fault, Damage | None] | None = None
        self.met: set[int] = set()
        self.changed: set[int] = set()
        self._watched: dict[str, Watched] = {}
        self._calls: Counter[str] = Counter()
        self._previous: dict[str, Tensor] = {}
        self._inside = False
        self._python = [PYTHON_SITES[name] for name in dict.fromkeys(names) if name in PYTHON_SITES]
        self._running: set[str] = set()
        self._stack = ExitStack()
        self._library: Any = None

    # -- what they do ---------------------------------------------------------------------------------------------------

    def watch(self, faults: Iterable[Fault]) -> None:
        """Records from now on which of these faults hit a call, by their position."""
        of_site = defaultdict(list)
        for position, fault in enumerate(faults):
            of_site[fault.site].append((position, *self._asked(fault)))
        self._watched = {site: Watched(some) for site, some in of_site.items()}

    def _asked(self, fault: Fault) -> tuple[Sequence[str], str]:
        """The texts that a call meets which a fault hits, and the damage that is planned to see whether it changes it, if any."""
        return fault.condition.split(" & "), fault.damage

    def plant(self, fault: Fault | None, damage: Damage | None = None, *, raises: bool = False) -> None:
        """Plants a fault in place of the one before, also with a damage that has no name; with ``raises`` it raises instead
        of doing its damage."""
        done = None if raises or fault is None else damage or damage_of(fault.site, fault.damage)
        self.planted = None if fault is None else (fault, done)

    @contextmanager
    def planting(self, fault: Fault | None, *, raises: bool = False) -> Iterator[None]:
        """A fault planted, or none, for a moment."""
        before = self.planted
        self.plant(fault, raises=raises)
        try:
            yield
        finally:
            self.planted = before

    def forget(self) -> None:
        """Begins a case: nothing was called yet, and nothing is running."""
        self.met, self.changed = set(), set()
        self._calls.clear()
        self._previous.clear()
        self._running.clear()

    # -- how they are installed -----------------------------------------------------------------------------------------

    def install(self) -> None:
        """Replaces ATen's kernels, and the functions."""
        self._library = torch.library.Library("aten", "IMPL")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a kernel is replaced is the point
            for site in self.kernels.values():
                right = torch.library.get_kernel(f"aten::{site.name}", "CPU")
                self._library.impl(site.name, functools.partial(self._kernel, site, right), "CPU", with_keyset=True)
        self._wrap()

    def _wrap(self) -> None:
        for site in self._python:
            raw = inspect.getattr_static(site.owner, site.attribute)
            wrapped = self._wrapped(site, getattr(raw, "__func__", raw))
            made = type(raw)(wrapped) if isinstance(raw, (classmethod, staticmethod)) else wrapped
            self._stack.enter_context(patched(site.owner, **{site.attribute: made}))

    @contextmanager
    def installed(self) -> Iterator[Sites]:
        """All replaced, and put back."""
        self.install()
        try:
            with self._stack:
                yield self
        finally:
            self._library._destroy()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Torch's own functions again, for a moment; its kernels are always called."""
        self._stack.close()
        try:
            yield
        finally:
            self._wrap()

    def _kernel(self, site: Site, right: Any, keys: Any, *given: Any, **named: Any) -> Any:
        return self._called(site, functools.partial(right.call_boxed, keys), given, named)

    def _wrapped(self, site: Site, original: Function) -> Function:
        """A function that calls another, and passes for it where a script is made: it has its globals, or is its operator."""
        called = self._transformed if site.kind == "transform" else self._called
        enter = functools.partial(called, site, original)

        def function(*given: Any, **named: Any) -> Any:
            return enter(given, named)

        scope = getattr(original, "__globals__", globals())
        made = FunctionType(function.__code__, scope, site.attribute, closure=function.__closure__)
        operator = _find_builtin(original)
        if operator is not None:
            _register_builtin(made, operator)
            _registered.append(made)
        return functools.update_wrapper(made, original)

    def _transformed(self, site: Site, original: Function, given: Any, named: Any) -> Function:
        """What a transform makes of a function, whose calls have the transform's arguments among their facts."""
        made, outer = original(*given, **named), site.signature.bind(*given, **named)
        outer.apply_defaults()
        enter = functools.partial(self._called, site, made, outer=outer.arguments)
        return functools.wraps(made)(lambda *given, **named: enter(given, named))

    # -- a call ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """What is called here is no call of the case's."""
        before, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = before

    def _called(
        self, site: Site, original: Function, given: Any, named: Any, outer: Mapping[str, Any] | None = None
    ) -> Any:
        planted = self.planted if self.planted is not None and self.planted[0].site == site.name else None
        idle = self._inside or site.name in self._running or not (planted or site.name in self._watched)
        kernel = site.kind == "kernel"
        if idle or (site.kind not in {"kernel", "traced"} and (torch.compiler.is_compiling() or get_proxy_mode())):
            return original(*given, **named)  # what a tracer sees of this would be in its graph
        signature = site.signature if outer is None else _ANY  # not before: a compiler would trace it
        try:
            bound = signature.bind(*given, **named)
        except TypeError:  # which the function itself is to say
            return original(*given, **named)
        bound.apply_defaults()
        arguments = bound.arguments
        for name, value in arguments.items():
            if isinstance(value, Iterator) and not hasattr(value, "read"):  # a generator, but no file, can be read once
                arguments[name] = list(value)
        with self._aside():
            facts = None if site.afterwards else self._told(site, {**(outer or {}), **arguments})
            told = Call(dict(arguments), facts or {}, self._previous.get(site.name), snapshot(site, arguments))
            if planted and planted[1] and facts and not kernel and planted[0].met(facts):
                arguments.update(planted[1].given(told))
        self._running.add(site.name)
        try:
            result = original(*bound.args, **bound.kwargs)
        finally:
            self._running.discard(site.name)

        def again(changes: Mapping[str, Any]) -> Any:
            copies = {site.writes: told.before["written"][0][1].clone()} if site.writes else {}
            changed = inspect.BoundArguments(signature, OrderedDict({**told.given, **copies, **changes}))
            return original(*changed.args, **changed.kwargs)

        with self._aside():
            facts = self._told(site, arguments, result) if site.afterwards else facts
            if facts is None:
                return result
            return self._left(site, told._replace(facts=facts), result, again if kernel else None)

    def _left(self, site: Site, told: Call, result: Any, again: Function | None) -> Any:
        """What a call that gave a result gives in the end, once it is written down; a kernel can be called ``again``."""
        iterates = isinstance(result, Iterator)
        result = list(result) if iterates else result
        self._written_down(site, told, result, again)
        plan = None
        if self.planted is not None and self.planted[0].site == site.name and self.planted[0].met(told.facts):
            if self.planted[1] is None:
                raise Planted(str(self.planted[0]))
            plan = _planned(self.planted[1], site, told, result, again)
        self._keep(site, told, result)
        if plan is not None:
            return plan()
        return iter(result) if iterates else result

    def _told(self, site: Site, given: Mapping[str, Any], result: Any = None) -> Facts | None:
        facts = site.facts(given, result)
        if facts is not None:
            facts |= {"earlier": self._calls[site.name], "threads": torch.get_num_threads()}
            self._calls[site.name] += 1
        return facts

    def _written_down(self, site: Site, told: Call, result: Any, again: Function | None) -> None:
        for damage, met in self._met(site, told.facts).items():
            if not damage or changes(damage_of(site.name, damage), site, told, result, again):
                self.changed.update(met)

    def _met(self, site: Site, facts: Facts) -> dict[str, list[int]]:
        met = self._watched[site.name].met(facts) if site.name in self._watched else {}
        self.met.update(*met.values())
        return met

    def _keep(self, site: Site, told: Call, result: Any) -> None:
        """Keeps what a call gave for the next one."""
        try:
            tensor = tensor_of(site, told, result)
            if tensor is not None and (site.kind == "kernel" or tensor.layout is torch.strided):
                self._previous[site.name] = matrix(tensor)
        except (RuntimeError, TypeError, NotImplementedError):
            return


def _planned(damage: Damage, site: Site, told: Call, result: Any, again: Function | None) -> Plan | None:
    """What a damage would do; nothing where what was returned has no values to speak of, or a kernel refuses its arguments."""
    try:
        if again is None or damage.give is None:
            return damage.plan(site, told, result)
        changes = damage.given(told)
        other = again(changes) if changes else None
        tensor = tensor_of(site, told, result)
        if not site.writes or other is None or tensor is None:
            return None if other is None else lambda: other
        return (lambda: put(site, result, tensor, other)) if differs(tensor, other) else None
    except (RuntimeError, IndexError, NotImplementedError):
        return None


def changes(damage: Damage, site: Site, told: Call, result: Any, again: Function | None) -> bool:
    """Whether a damage would change what a call left, or of one in Python what it is made with."""
    plan = _planned(damage, site, told, result, again)
    if again is None:
        return plan is not None or bool(damage.given(told))
    # A kernel that is given something else may give the same; what changes rows, or what it writes, is planned only if they differ.
    return plan is not None and (damage.give is None or bool(site.writes) or differs(result, plan()))
