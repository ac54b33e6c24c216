"""How a fault is planted around a call, with a probe for a witness: it gives something else than at registration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.fault import Applies
from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor


def around(
    name: str,
    family: str,
    sentence: str,
    owner: Any,
    attribute: str,
    wrong: Callable[..., Any],
    *,
    modes: tuple[str, ...] = (),
    applies: Applies = lambda: True,
) -> None:
    """A fault of ``owner.attribute``: ``wrong(original, *given, **flags)`` is called in its place."""
    if not applies():
        return

    def replaced(original: Any) -> Any:
        def call(*given: Any, **flags: Any) -> Any:
            return wrong(original, *given, **flags)

        return call

    entry(name, family, sentence, owner, attribute, replaced, modes)


def numbered(rows: int = 3, width: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """1, 2, 3, …"""
    return torch.arange(1, 1 + rows * width).reshape(rows, width).to(dtype)


def pair(bias: bool = False, rows: int = 3, width: int = 2) -> Any:
    """An embedding and a head that have one Parameter, of known numbers."""
    model: Any = torch.nn.ModuleDict(
        {"embedding": torch.nn.Embedding(rows, width), "head": torch.nn.Linear(width, rows, bias)}
    )
    model["embedding"].weight = torch.nn.Parameter(numbered(rows, width))
    model["head"].weight = model["embedding"].weight
    if bias:
        torch.nn.init.ones_(model["head"].bias)
    return model
