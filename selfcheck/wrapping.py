"""Functions of ours in the place of torch's, which call those: they record calls, or spoil those that a fault hits.

A call within a call of the same site, as a module's of its parts, is none of its own.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any

import torch
from torch.jit._builtins import _find_builtin, _register_builtin

from selfcheck.damages import Call
from selfcheck.fault import patched
from selfcheck.planting import Kernels, Planted
from selfcheck.python_damages import PYTHON_DAMAGES, PythonDamage
from selfcheck.python_sites import PYTHON_SITES, PythonSite, Told
from selfcheck.sites import matrix
from selfcheck.tensor_plans import Plan, snapshot, tensor_of

_ANY = inspect.signature(lambda *args, **kwargs: None)


class Sites(Kernels):
    """The kernels of all sites, and those functions of Python that some faults are of."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        super().__init__()
        self._python = [PYTHON_SITES[name] for name in dict.fromkeys(names) if name in PYTHON_SITES]
        self._running: set[str] = set()
        self._stack = ExitStack()

    def install(self) -> None:
        """Replaces ATen's kernels, and the functions."""
        super().install()
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
        with super().installed(), self._stack:
            yield self

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Torch's own functions again, for a moment."""
        self._stack.close()
        try:
            yield
        finally:
            self._wrap()

    def forget(self) -> None:
        """Begins a case: nothing was called yet, and nothing is running."""
        super().forget()
        self._running.clear()

    def _wrapped(self, site: PythonSite, original: Callable[..., Any]) -> Callable[..., Any]:
        """A function that calls another, and passes for it where a script is made: it has its globals, or is its operator."""
        enter = functools.partial(self._called, site, original, site.signature)
        if site.kind == "transform":
            enter = functools.partial(self._transformed, site, original, site.signature)

        def function(*given: Any, **named: Any) -> Any:
            return enter(given, named)

        scope = getattr(original, "__globals__", globals())
        made = FunctionType(function.__code__, scope, site.attribute, closure=function.__closure__)
        operator = _find_builtin(original)
        if operator is not None:
            _register_builtin(made, operator)
        return functools.update_wrapper(made, original)

    def _transformed(
        self, site: PythonSite, original: Callable[..., Any], signature: inspect.Signature, given: Any, named: Any
    ) -> Any:
        """What a transform makes of a function, whose calls have the transform's arguments among their facts."""
        made, outer = original(*given, **named), signature.bind(*given, **named)
        outer.apply_defaults()
        enter = functools.partial(self._called, site, made, _ANY, outer=outer.arguments)
        return functools.wraps(made)(lambda *given, **named: enter(given, named))

    def _called(
        self,
        site: PythonSite,
        original: Callable[..., Any],
        signature: inspect.Signature,
        given: tuple[Any, ...],
        named: dict[str, Any],
        outer: Mapping[str, Any] | None = None,
    ) -> Any:
        planted = self.planted if self.planted is not None and self.planted[0].site == site.name else None
        idle = self._inside or site.name in self._running or not (planted or site.name in self._watched)
        if torch.compiler.is_compiling() or idle:
            return original(*given, **named)
        try:
            bound = signature.bind(*given, **named)
        except TypeError:  # which the function itself is to say
            return original(*given, **named)
        bound.apply_defaults()
        arguments = bound.arguments
        arguments.update({name: list(value) for name, value in arguments.items() if _passing(value)})
        with self._aside():
            facts = None if site.afterwards else self._told(site, {**(outer or {}), **arguments})
            told = Call(dict(arguments), facts or {}, self._previous.get(site.name), snapshot(site, arguments))
        damage = None if planted is None else PYTHON_DAMAGES[planted[0].damage]
        if planted and damage and facts and planted[0].met(facts) and not planted[1]:
            arguments.update(damage.given(told))
        self._running.add(site.name)
        try:
            result = original(*bound.args, **bound.kwargs)
        finally:
            self._running.discard(site.name)
        with self._aside():
            facts = self._told(site, arguments, result) if site.afterwards else facts
            return result if facts is None else self._left(site, told._replace(facts=facts), result)

    def _left(self, site: PythonSite, told: Call, result: Any) -> Any:
        """What a call that gave a result gives in the end, once it is written down."""
        iterates = isinstance(result, Iterator)
        result = list(result) if iterates else result
        self._written_down(site, told, result)
        plan = None
        if self.planted is not None and self.planted[0].site == site.name and self.planted[0].met(told.facts):
            if self.planted[1]:
                raise Planted(str(self.planted[0]))
            plan = _planned(PYTHON_DAMAGES[self.planted[0].damage], site, told, result)
        self._keep(site, told, result)
        if plan is not None:
            return plan()
        return iter(result) if iterates else result

    def _told(self, site: PythonSite, given: Mapping[str, Any], result: Any = None) -> Told | None:
        facts = site.facts(given, result)
        if facts is not None:
            facts |= {"earlier": self._calls[site.name], "threads": torch.get_num_threads()}
            self._calls[site.name] += 1
        return facts

    def _written_down(self, site: PythonSite, told: Call, result: Any) -> None:
        same: dict[str, bool] = {}
        for position, fault in self._watched.get(site.name, ()):
            if not fault.met(told.facts):
                continue
            self.met.add(position)
            damage = PYTHON_DAMAGES[fault.damage]
            if fault.damage not in same:
                same[fault.damage] = not damage.given(told) and _planned(damage, site, told, result) is None
            if not same[fault.damage]:
                self.changed.add(position)

    def _keep(self, site: PythonSite, told: Call, result: Any) -> None:
        """Keeps what a call gave for the next one."""
        try:
            tensor = tensor_of(site, told, result)
            if tensor is not None and tensor.layout is torch.strided:
                self._previous[site.name] = matrix(tensor)
        except (RuntimeError, TypeError, NotImplementedError):
            return


def _passing(value: Any) -> bool:
    """Whether what is given can be read once: a generator, but no file."""
    return isinstance(value, Iterator) and not hasattr(value, "read")


def _planned(damage: PythonDamage, site: PythonSite, told: Call, result: Any) -> Plan | None:
    """What a damage would do; nothing where what was returned has no values to speak of."""
    try:
        return damage.plan(site, told, result)
    except (RuntimeError, NotImplementedError):
        return None
