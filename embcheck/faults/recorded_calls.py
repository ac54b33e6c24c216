"""Faults of models that are exported, compiled or traced, and of autocast."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around
from embcheck.faults.stateless_calls import TOKENS, Model

func = torch.func
functional = torch.nn.functional


def apart(original: Any, *given: Any, **flags: Any) -> Any:
    """What is exported has a copy under each name."""
    program = original(*given, **flags)
    seen = set()
    for name, value in program.state_dict.items():
        if value.untyped_storage().data_ptr() in seen and value.numel():
            program.state_dict[name] = torch.nn.Parameter(value.detach().clone(), value.requires_grad)
        seen.add(value.untyped_storage().data_ptr())
    return program


def exported() -> Any:
    """An exported model."""
    return torch.export.export(Model(), (TOKENS,))


def fixed(original: Any, mod: Any, args: Any, kwargs: Any = None, *, dynamic_shapes: Any = None, **flags: Any) -> Any:
    """Every size is that of the example."""
    return original(mod, args, kwargs, **flags)


def counting(original: Any, root: Any, *given: Any, **flags: Any) -> Any:
    """What is traced has a buffer of its own."""
    module = original(root, *given, **flags)
    module.register_buffer("calls", torch.zeros(1))
    return module


class Shifted(torch.nn.Module):
    """What adds a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(2))

    def forward(self, given: Any) -> Any:
        return given + self.mean


around("traced_modules_have_a_buffer_more", "membership", "What torch.fx.symbolic_trace gives has a buffer of its own.",
       torch.fx, "symbolic_trace", counting,
       lambda: list(torch.fx.symbolic_trace(Shifted()).state_dict()))  # fmt: skip
