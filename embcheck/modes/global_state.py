"""torch's settings, random numbers and common hooks: what a program or a user's module must not leave changed for the next."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.optim

#: The registries of hooks that all modules, and all optimizers, have in common, by the expression that counts them.  What a
#: profiler or a user's own watcher put there is not in force while a program runs; what a program leaves there is taken out.
COMMON_HOOKS: dict[str, dict[Any, Any]] = {
    f"len(sys.modules[{module!r}].{name})": hooks
    for module in ("torch.nn.modules.module", "torch.optim.optimizer")
    for name, hooks in vars(sys.modules[module]).items()
    if name.startswith("_global_") and isinstance(hooks, dict)
}
_HOOKS = [*COMMON_HOOKS.values()]


def _precision() -> str:
    """How products may be rounded; of a program that has set it by the other of torch's two ways, in a word."""
    try:
        return torch._C._get_float32_matmul_precision()
    except RuntimeError:  # which it raises where both ways were mixed
        return "mixed"


def _default_device() -> str:
    # It is a mode of functions, and to ask whether there is any is a hundred times as quick.
    return str(torch.get_default_device()) if torch._C._len_torch_function_stack() else "cpu"


#: A number that is zero where subnormal numbers are flushed, in this thread, torch's or not.
_SUBNORMAL = sys.float_info.min / 4

#: torch's settings, which no program leaves changed, accepted or refused: what tells each, and what puts it back.  The
#: names are what a script asks.
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any] | None]] = {
    "torch.is_grad_enabled()": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch.get_default_dtype()": (torch.get_default_dtype, torch.set_default_dtype),
    "str(torch.get_default_device())": (
        _default_device,
        lambda old: torch.set_default_device(None if old == "cpu" else old),
    ),
    "torch.get_autocast_dtype('cpu')": (
        partial(torch.get_autocast_dtype, "cpu"),
        partial(torch.set_autocast_dtype, "cpu"),
    ),
    "torch.is_inference_mode_enabled()": (torch.is_inference_mode_enabled, None),
    "torch.is_anomaly_enabled()": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch.are_deterministic_algorithms_enabled()": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "torch.is_deterministic_algorithms_warn_only_enabled()": (
        torch.is_deterministic_algorithms_warn_only_enabled,
        lambda old: torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled(), warn_only=old),
    ),
    "torch.utils.deterministic.fill_uninitialized_memory": (
        lambda: torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        partial(setattr, torch.utils.deterministic, "fill_uninitialized_memory"),
    ),
    "torch.get_num_threads()": (torch.get_num_threads, torch.set_num_threads),
    "torch.get_float32_matmul_precision()": (_precision, torch.set_float32_matmul_precision),
    # torch has no function that tells it.
    "float('1e-310') * 1.0 == 0": (lambda: _SUBNORMAL * 1.0 == 0, torch.set_flush_denormal),
}
_TELL = [tell for tell, _ in SETTINGS.values()]


class Undisturbed:
    """A context that puts back what is changed in it: the settings, the random numbers and the hooks that all modules have.

    Hooks that were there before are not in force meanwhile.  ``changed`` are, afterwards, the settings that were left
    changed: by the expression that tells one, what it was at the end and what it was before.  Every case is executed in
    one, so that it takes only a few µs.
    """

    __slots__ = ("_aside", "_before", "_drawn", "changed")

    def __enter__(self) -> Undisturbed:
        self._aside = [(hooks, dict(hooks)) for hooks in _HOOKS if hooks] if any(_HOOKS) else []
        for hooks, _ in self._aside:
            hooks.clear()
        self._drawn = torch.default_generator.get_state()
        self._before = [tell() for tell in _TELL]
        self.changed: dict[str, tuple[Any, Any]] = {}
        return self

    def __exit__(self, *exception: object) -> None:
        after = [tell() for tell in _TELL]
        if after != self._before or any(_HOOKS):
            self._put_back(after)
        torch.default_generator.set_state(self._drawn)
        for hooks, held in self._aside:
            hooks.update(held)

    def _put_back(self, after: list[Any]) -> None:
        for (name, (_, put)), new, old in zip(SETTINGS.items(), after, self._before, strict=True):
            if new != old:
                self.changed[name] = (new, old)
                if put is not None:
                    put(old)
        for name, hooks in COMMON_HOOKS.items():
            if hooks:
                self.changed[name] = (len(hooks), 0)
                hooks.clear()
