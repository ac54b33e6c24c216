"""Faults of state_dict and load_state_dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import entry
from selfcheck.faults.layers import Module
from selfcheck.faults.witnesses import zero_behind


def saving(name: str, family: str, sentence: str, change: Callable[..., None]) -> None:
    """A fault of Module._save_to_state_dict: ``change(self, destination, prefix)`` afterwards."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def _save_to_state_dict(self: Any, destination: Any, prefix: str, keep_vars: bool) -> None:
            original(self, destination, prefix, keep_vars)
            change(self, destination, prefix)

        return _save_to_state_dict

    entry(name, family, sentence, Module, "_save_to_state_dict", wrong)


saving(
    "state_copies_views",
    "conversion",
    "state_dict() copies a weight that is a transposed view.",
    lambda self, out, prefix: (
        out.update({prefix + "weight": out[prefix + "weight"].contiguous()})
        if isinstance(self, torch.nn.Linear) and not self.weight.is_contiguous()
        else None
    ),
)


def loading(name: str, family: str, sentence: str, change: Callable[..., Any]) -> None:
    """A fault of Module._load_from_state_dict: ``change(self, state, prefix, metadata)`` before and what it returns,
    if callable, after."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def _load_from_state_dict(self: Any, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
            then = change(self, state, prefix, metadata)
            original(self, state, prefix, metadata, *rest)
            if callable(then):
                then()

        return _load_from_state_dict

    entry(name, family, sentence, Module, "_load_from_state_dict", wrong)


loading(
    "loading_writes_behind",
    "tie_preservation",
    "Loading a Linear zeroes what lies behind its weight in memory.",
    lambda self, state, prefix, meta: (
        (lambda: zero_behind(self.weight.detach())) if isinstance(self, torch.nn.Linear) else None
    ),
)
