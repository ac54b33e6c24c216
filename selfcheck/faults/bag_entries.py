"""Faults of F.embedding_bag: what it accepts, and what else it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.bags import NAMES, Given
from selfcheck.faults.entry import entry, functional
from selfcheck.faults.functional import bumped
from selfcheck.faults.kernels import Tensor

Call = Callable[..., Any]


def call_fault(name: str, sentence: str, wrong: Callable[[Call, Given], Any], family: str = "embedding_bag") -> None:
    """Registers a fault of F.embedding_bag: ``wrong(original, arguments by name)``."""

    def replace(original: Call) -> Call:
        def replaced(*arguments: Any, **keywords: Any) -> Any:
            given = {"mode": "mean"} | dict(zip(NAMES, arguments, strict=False)) | keywords
            return wrong(original, given)

        return replaced

    entry(name, family, sentence, functional, "embedding_bag", replace)


def after(when: Callable[[Given], bool], change: Callable[[Tensor, Given], Tensor]) -> Callable[[Call, Given], Any]:
    """The output changed on some calls."""

    def wrong(original: Call, given: Given) -> Any:
        out = original(**given)
        return change(out, given) if when(given) else out

    return wrong


def before(when: Callable[[Given], bool], change: Callable[[Given], Given]) -> Callable[[Call, Given], Any]:
    """The arguments changed on some calls."""
    return lambda original, given: original(**(change(given) if when(given) else given))


def learning(given: Given) -> bool:
    """Whether the output is part of a graph."""
    learns = given["weight"].requires_grad or bool(
        (s := given.get("per_sample_weights")) is not None and s.requires_grad
    )
    return learns and torch.is_grad_enabled()


def late(given: Given) -> int:
    """How many tokens lie behind the last offset."""
    if not given.get("include_last_offset") or given["input"].dim() != 1 or not len(given["offsets"]):
        return 0
    return len(given["input"]) - int(given["offsets"][-1])


call_fault(
    "bage_maximum_requires_grad", "A maximum of a frozen table requires grad.",
    after(
        lambda g: g["mode"] == "max" and not g["weight"].requires_grad and torch.is_grad_enabled(),
        lambda out, g: out if out.requires_grad or out.is_inference() else out.requires_grad_(),
    ),
)  # fmt: skip
call_fault(
    "bage_maximum_draws", "A maximum draws a random number.",
    after(lambda g: g["mode"] == "max", lambda out, g: (out, torch.rand(1))[0]),
)  # fmt: skip
call_fault(
    "bage_moves_versions", "A bag with offsets counts as a write to them.",
    after(
        lambda g: g.get("offsets") is not None and not g["offsets"].is_inference(),
        lambda out, g: bumped(out, g["offsets"]),
    ),
)  # fmt: skip
call_fault(
    "bage_batch_heeds_last_offset", "include_last_offset drops the last bag of a batch.",
    after(lambda g: g["input"].dim() == 2 and bool(g.get("include_last_offset")) and len(g["input"]) > 1,
          lambda out, g: out[:-1]),
)  # fmt: skip
