"""Faults of models that are exported, compiled or traced, and of autocast."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around


def counting(original: Any, root: Any, *given: Any, **flags: Any) -> Any:
    """What is traced has a buffer of its own."""
    module = original(root, *given, **flags)
    module.register_buffer("calls", torch.zeros(1))
    return module


around("traced_modules_have_a_buffer_more", "module_traversal", "What torch.fx.symbolic_trace gives has a buffer of its own.",
       torch.fx, "symbolic_trace", counting)  # fmt: skip
