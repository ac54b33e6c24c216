"""How faults that live in one mode are planted, and what they do to a result or to a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_modes
from selfcheck.fault import Applies, Fault, Plant, add, patched
from selfcheck.faults.kernels import Tensor

load_modes()

Spoil = Callable[[Tensor], Tensor]
#: What is done to a layer after a trip.
Harm = Callable[[torch.nn.Module], Any]


# -- results -----------------------------------------------------------------------------------------------------


def last_token_zero(out: Tensor) -> Tensor:
    """The last token's row is zero."""
    if not out.numel() or out.dim() < 2:
        return out
    kept = torch.ones(out.shape[:-1], dtype=torch.bool).reshape(-1)
    kept[-1] = False
    return torch.where(kept.reshape(*out.shape[:-1], 1), out, torch.zeros((), dtype=out.dtype))


def tokens_rolled(out: Tensor) -> Tensor:
    """Each token gets its predecessor's row."""
    return out.roll(1, 0) if out.dim() > 1 else out


def gradient_doubled(out: Tensor) -> Tensor:
    """The value is right, its gradient comes twice."""
    return Twice.apply(out) if out.requires_grad else out  # type: ignore[no-untyped-call]


class Twice(torch.autograd.Function):
    """The identity, whose derivative is twice the identity."""

    generate_vmap_rule = True

    @staticmethod
    def forward(given: Tensor) -> Tensor:
        return given.clone()

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(context: Any, upstream: Any) -> Any:
        return upstream * 2

    @staticmethod
    def jvp(context: Any, tangent: Any) -> Any:
        return tangent * 2


SPOILS: dict[str, Spoil] = {
    "drops_the_last_token": last_token_zero,
    "rolls_the_tokens": tokens_rolled,
    "doubles_the_gradient": gradient_doubled,
}


# -- layers ------------------------------------------------------------------------------------------------------


def padding_lost(layer: torch.nn.Module) -> None:
    """padding_idx is gone."""
    for part in layer.modules():
        if getattr(part, "padding_idx", None) is not None:
            vars(part)["padding_idx"] = None
        flags = vars(part).get("flags")
        if flags is not None:
            flags.pop("padding_idx", None)


def last_row_zero(layer: torch.nn.Module) -> None:
    """The table's last row is zero."""
    with torch.no_grad():
        for table in layer.parameters():
            if len(table):
                table[-1] = 0


def table_copied(layer: torch.nn.Module) -> None:
    """The parameter's memory is its own."""
    for table in layer.parameters():
        table.data = table.data.clone()


HARMS: dict[str, Harm] = {
    "loses_padding_idx": padding_lost,
    "zeroes_the_last_row": last_row_zero,
    "copies_the_table": table_copied,
}


def in_mode(name: str, fault: str, sentence: str, plant: Plant, *, family: str = "gradient") -> None:
    """Registers a fault that lives in one mode."""
    applies: Applies = lambda: MODES[name].lacking() is None  # noqa: E731
    add(Fault(f"{name}_{fault}", family, sentence, plant, False, applies, (name,)))


def replacing(owner: Any, attribute: str, wrong: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Plant:
    """A plant that replaces ``owner.attribute``, looked up when it is planted, by ``wrong(original)``."""

    @contextmanager
    def plant() -> Iterator[None]:
        found = vars(owner).get(attribute, getattr(owner, attribute))
        original = found.__func__ if isinstance(found, (classmethod, staticmethod)) else found
        kind = type(found) if isinstance(found, (classmethod, staticmethod)) else (lambda function: function)
        with patched(owner, **{attribute: kind(wrong(original))}):
            yield

    return plant


def result_spoiled(spoil: Spoil) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A function whose result, or the first of its results, is spoiled."""

    def wrong(original: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(*given: Any, **flags: Any) -> Any:
            out = original(*given, **flags)
            return (spoil(out[0]), *out[1:]) if isinstance(out, tuple) else spoil(out)

        return replaced

    return wrong


def layer_harmed(harm: Harm) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A method after which its layer is harmed, and what it returns too if that is a layer."""

    def wrong(original: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(layer: Any, *given: Any, **flags: Any) -> Any:
            out = original(layer, *given, **flags)
            harm(out if isinstance(out, torch.nn.Module) else layer)
            return out

        return replaced

    return wrong
