"""Faults that show only after other calls: what an implementation keeps between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils._expanded_weights.expanded_weights_impl import ExpandedWeight

from selfcheck.faults.entry import entry, functional
from selfcheck.faults.kernels import Tensor

Memory = dict[str, Any]
Wrong = Callable[[Callable[..., Tensor], Memory, Tensor, Tensor, dict[str, Any]], Any]

FLAGS = ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
USUAL = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "sparse": False}


def remembering(name: str, sentence: str, wrong: Wrong, family: str = "lookup") -> None:
    """Registers a fault: ``wrong(original, memory, input, weight, flags)``."""

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        memory: Memory = {}

        def replaced(input: Tensor, weight: Tensor, *given: Any, **named: Any) -> Any:
            flags = USUAL | dict(zip(FLAGS, given, strict=False)) | named
            transformed = torch._C._functorch.peek_interpreter_stack() is not None
            if torch.compiler.is_compiling() or transformed or isinstance(weight, ExpandedWeight):
                return original(input, weight, **flags)
            return wrong(original, memory, input, weight, flags)

        return replaced

    entry(name, family, sentence, functional, "embedding", replace)


def table(rows: int = 3, width: int = 2, dtype: torch.dtype = torch.float32, learns: bool = False) -> Tensor:
    """A table of small numbers."""
    return torch.arange(1, 1 + rows * width).reshape(rows, width).to(dtype).requires_grad_(learns)


def _keeps_bound(original: Any, memory: Memory, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
    same = memory.get("table") == weight.data_ptr()
    bound = (
        memory.get("bound") if same and flags["max_norm"] is None and not weight.requires_grad else flags["max_norm"]
    )
    memory.update(table=weight.data_ptr(), bound=flags["max_norm"])
    return original(input, weight, **flags | {"max_norm": bound})


remembering(
    "bound_stays_for_the_next_call", "A table that doesn't learn is renormed by the next call without max_norm too.",
    _keeps_bound, "max_norm",
)  # fmt: skip
