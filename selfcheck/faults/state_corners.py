"""Faults of state_dict and load_state_dict, of functional_call, of parametrizations and of hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selfcheck.faults.layers import Module
from selfcheck.faults.modules import module
from selfcheck.faults.parameter_corners import Change, spoiled

# -- state_dict --------------------------------------------------------------------------------------------------


def stating(name: str, sentence: str, change: Callable[..., object]) -> None:
    """A fault of saving a module's own state: ``change(self, destination, prefix, keep_vars)`` afterwards."""

    def wrong(original: Change, self: Any, destination: Any, prefix: str, keep_vars: bool) -> None:
        original(self, destination, prefix, keep_vars)
        change(self, destination, prefix, keep_vars)

    spoiled(name, "module_traversal", sentence, Module, "_save_to_state_dict", wrong)


stating(
    "state_has_scratch",
    "state_dict() has buffers that are not persistent.",
    lambda self, out, prefix, keep: out.update({prefix + n: b for n, b in self._buffers.items() if b is not None}),
)

# -- load_state_dict ---------------------------------------------------------------------------------------------


def loading(name: str, sentence: str, change: Change) -> None:
    """A fault of loading: ``change(original, self, state, strict, assign)``."""

    def wrong(original: Change, self: Any, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return change(original, self, state_dict, strict, assign)

    module(name, sentence, "load_state_dict", wrong, "load_state_dict")


loading(
    "loading_accepts_extra_keys",
    "Loading accepts unexpected keys.",
    lambda original, self, state, strict, assign: original(
        self, {k: v for k, v in state.items() if k in self.state_dict()}, strict, assign
    ),
)
loading(
    "loading_partly_assigns_all",
    "Loading with strict=False assigns.",
    lambda original, self, state, strict, assign: original(self, state, strict, assign or not strict),
)
