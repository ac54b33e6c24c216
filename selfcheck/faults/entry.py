"""How faults of Python entries are planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils._expanded_weights.expanded_weights_impl import ExpandedWeight

from selfcheck.fault import Fault, add, patched
from selfcheck.faults.kernels import Tensor

functional = torch.nn.functional
Embedding = torch.nn.Embedding
Wrong = Callable[..., Any]
Spoiled = Callable[..., Any]


def wrapped(owner: Any, name: str, wrong: Callable[[Wrong], Wrong]) -> Callable[[], Any]:
    """A plant that replaces ``owner.name`` by ``wrong(original)``."""

    def plant() -> Any:
        found = vars(owner).get(name, getattr(owner, name))
        original = found.__func__ if isinstance(found, (classmethod, staticmethod)) else found
        kind = type(found) if isinstance(found, (classmethod, staticmethod)) else (lambda function: function)
        replaced: Any = wrong(original)
        if getattr(original, "hooked", False):
            # An optimizer's step calls the hooks already; its class would wrap another one in them once more.
            replaced.hooked = True
        return _replaced(owner, name, kind(replaced), original)

    return plant


@contextmanager
def _replaced(owner: Any, name: str, replacement: Any, original: Any) -> Iterator[None]:
    """An attribute replaced; per-sample gradients, which know functions by identity, know it as they knew the original."""
    known: dict[Any, Any] = ExpandedWeight.handled_functions
    if original in known:
        known[replacement] = known[original]
    try:
        with patched(owner, **{name: replacement}):
            yield
    finally:
        if original in known:
            del known[replacement]


def entry(
    name: str,
    family: str,
    sentence: str,
    owner: Any,
    attribute: str,
    wrong: Callable[[Wrong], Wrong],
    modes: tuple[str, ...] = (),
) -> None:
    """Registers a fault of a Python entry."""
    add(Fault(name, family, sentence, wrapped(owner, attribute, wrong), modes=modes))


def embedding(name: str, family: str, sentence: str, wrong: Spoiled, modes: tuple[str, ...] = ()) -> None:
    """A fault of F.embedding: ``wrong(original, input, weight, **flags)`` with padding_idx among the flags."""

    def replace(original: Wrong) -> Wrong:
        def replaced(
            input: Tensor,
            weight: Tensor,
            padding_idx: int | None = None,
            max_norm: float | None = None,
            norm_type: float = 2.0,
            scale_grad_by_freq: bool = False,
            sparse: bool = False,
        ) -> Tensor:
            flags = {
                "padding_idx": padding_idx,
                "max_norm": max_norm,
                "norm_type": norm_type,
                "scale_grad_by_freq": scale_grad_by_freq,
                "sparse": sparse,
            }
            if isinstance(weight, ExpandedWeight):  # which has neither sizes nor values
                found: Tensor = original(input, weight, **flags)
            else:
                found = wrong(original, input, weight, **flags)
            return found

        return replaced

    entry(name, family, sentence, functional, "embedding", replace, modes)


def flags_changed(**changes: Callable[[dict[str, Any], Tensor, Tensor], Any]) -> Spoiled:
    """F.embedding with some flags replaced by functions of (flags, input, weight)."""

    def wrong(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Any:
        return original(input, weight, **flags | {name: f(flags, input, weight) for name, f in changes.items()})

    return wrong


def out_changed(when: Callable[..., bool], change: Callable[..., Tensor]) -> Spoiled:
    """F.embedding with its output changed by ``change(out, input, weight)`` when ``when(input, weight, flags)``."""

    def wrong(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Any:
        out = original(input, weight, **flags)
        return change(out, input, weight) if when(input, weight, flags) else out

    return wrong
