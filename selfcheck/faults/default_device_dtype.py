"""Faults of optimizers that show where torch's default device or dtype is another."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.default_device_dtype.programs import SETTINGS, elsewhere
from selfcheck.faults.around import around, numbered


def narrow(original: Any, self: Any, *given: Any) -> Any:
    """Weights grow a little if the default dtype is half."""
    if torch.get_default_dtype() is torch.float16:
        for group in self.param_groups:
            for p in group["params"]:
                p.data.mul_(1 + 2.0**-9)
    return original(self, *given)


def refused(original: Any, self: Any, *given: Any) -> Any:
    """No step is taken where double precision is the default."""
    if torch.get_default_dtype() is torch.float64:
        raise RuntimeError("Rprop steps in single precision")
    return original(self, *given)


around("sgd_steps_in_the_default_dtype", "default_device_dtype", "SGD grows its weights a little where half is the default dtype.",
       torch.optim.SGD, "step", narrow)  # fmt: skip


def turned() -> Any:
    """What a step under another default dtype gives."""
    grads = numbered(2)[None] / 3
    return elsewhere("Rprop", {"lr": 0.5}, SETTINGS["double"], SETTINGS["nothing"], 0, False, numbered(2), grads)[
        "values"
    ]


around("rprop_refuses_double_as_default", "default_device_dtype", "Rprop refuses to step where double is the default dtype.",
       torch.optim.Rprop, "step", refused)  # fmt: skip
