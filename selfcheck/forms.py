"""The forms in which faults are written by hand: what a fault does otherwise, on a call of a kernel or of a Python function."""

import inspect
import pkgutil
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial
from typing import Any

import torch
from torch.nn.utils._expanded_weights.expanded_weights_impl import ExpandedWeight

from selfcheck import drawn
from selfcheck.damages import Damage
from selfcheck.fault import Fault, Plant, add, patched
from selfcheck.site import Call as KernelCall
from selfcheck.site import signature_of
from selfcheck.tracing import sites_of

# -- Python functions ---------------------------------------------------------------------------------------------------


class Call:
    """A call of a function that a fault replaces; its arguments are attributes, by the names that the function has for them.

    Called, it makes the call as it was, or with other arguments.  ``kept`` is empty when the fault is planted.
    """

    def __init__(
        self, original: Callable[..., Any], given: tuple[Any, ...], flags: dict[str, Any], kept: dict[Any, Any]
    ):
        self.original, self.given, self.flags, self.kept = original, given, flags, kept
        self.found: Any = None

    def __call__(self, /, **changes: Any) -> Any:
        if not changes:
            return self.original(*self.given, **self.flags)
        changed = inspect.BoundArguments(self._bound.signature, OrderedDict(self._bound.arguments) | changes)
        return self.original(*changed.args, **changed.kwargs)

    @cached_property
    def _bound(self) -> inspect.BoundArguments:
        bound = signature_of(self.original).bind(*self.given, **self.flags)
        bound.apply_defaults()
        return bound

    def __getattr__(self, name: str) -> Any:
        if name not in self._bound.arguments:
            raise AttributeError(f"the call has no argument {name!r}")
        return self._bound.arguments[name]


#: What is done in place of a call; it gives what the call gives.
Change = Callable[[Call], Any]


def after(effect: Callable[[Call], object], when: Callable[[Call], object] = lambda call: True) -> Change:
    """The call, and in some calls what is done once it returned; what it gave is ``call.found``."""

    def change(call: Call) -> Any:
        call.found = call()
        if when(call):
            effect(call)
        return call.found

    return change


def draws(call: Call) -> None:
    """A random number is drawn."""
    torch.rand(1)


def refusing(when: Callable[[Call], object] = lambda call: True) -> Change:
    """A RuntimeError in some calls, or in each."""

    def change(call: Call) -> Any:
        if when(call):
            raise RuntimeError("refused by a planted fault")
        return call()

    return change


@contextmanager
def replaced(owner: Any, attribute: str, change: Change) -> Iterator[None]:
    """``change(call)`` in the place of ``owner.attribute``; what takes long to import is given by its name."""
    owner = pkgutil.resolve_name(owner) if isinstance(owner, str) else owner
    found = vars(owner).get(attribute, getattr(owner, attribute))
    kind = type(found) if isinstance(found, (classmethod, staticmethod)) else None
    original = found.__func__ if kind else found
    kept: dict[Any, Any] = {}

    def replacement(*given: Any, **flags: Any) -> Any:
        if any(isinstance(each, ExpandedWeight) for each in given):  # which has neither sizes nor values
            return original(*given, **flags)
        return change(Call(original, given, flags, kept))

    if getattr(original, "hooked", False):
        # An optimizer's step calls the hooks already; its class would wrap another one in them once more.
        replacement.hooked = True  # type: ignore[attr-defined]
    known: dict[Any, Any] = ExpandedWeight.handled_functions
    if original in known:  # per-sample gradients know functions by identity
        known[replacement] = known[original]
    try:
        with patched(owner, **{attribute: kind(replacement) if kind else replacement}):
            yield
    finally:
        known.pop(replacement, None)


def _added(family: str, text: str, plant: Plant, **more: Any) -> None:
    """Registers a fault by its sentence or its line, of which its name is made if none stands before."""
    named, _, sentence = text.rpartition(": ")
    add(Fault(re.sub(r"\W+", "_", named or sentence).strip("_").lower(), family, sentence, plant, **more))


class _Changes:
    """Registers faults of a function: ``changes[owner, attribute, family] = {"name: What it does otherwise.": change}``; more
    fields of `Fault` may stand last."""

    def __setitem__(self, place: tuple[Any, ...], changes: Mapping[str, Change]) -> None:
        owner, attribute, family, *more = place
        for text, change in changes.items():
            _added(family, text, partial(replaced, owner, attribute, change), **dict(*more))


changes = _Changes()


def of_family(family: str, *rows: tuple[Any, str, str, Change]) -> None:
    """Registers faults of a family: for each the function's owner and name, the sentence and the change."""
    for owner, attribute, text, change in rows:
        changes[owner, attribute, family] = {text: change}


# -- kernels ------------------------------------------------------------------------------------------------------------

#: Changes what came out of a kernel's call: gives another result, or the same one.
Spoil = Callable[[KernelCall, Any], Any]


@contextmanager
def _installed(fault: drawn.Fault, damage: Damage | None = None) -> Iterator[None]:
    sites = sites_of([fault.site])
    sites.plant(fault, damage)
    with sites.installed():
        yield


def spoiled(site: str, spoil: Spoil, condition: str = "numel>=0") -> AbstractContextManager[None]:
    """A kernel of a site whose result is spoiled in calls that meet a condition."""
    damage = Damage("spoiled", planner=lambda site, call, result: lambda: spoil(call, result))
    return _installed(drawn.Fault(site, condition, damage.name), damage)


def kernel(site: str, condition: str, family: str, text: str, spoil: Spoil, **more: Any) -> None:
    """Registers a fault of a site's kernel."""
    _added(family, text, partial(spoiled, site, spoil, condition), **more)


def lines(family: str, *texts: str, **more: Any) -> None:
    """Registers faults of a family as lines in the language of drawn faults, behind a name, or a bug of the past, if it has one."""
    for text in texts:
        _added(family, text, partial(_installed, drawn.Fault.of(text.rpartition(": ")[2])), **more)
