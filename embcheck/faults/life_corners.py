"""Faults of conversion, loading and listing in conjunctions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Embedding, Wrong, entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.training_corners import changed

Module, Parameter = torch.nn.Module, torch.nn.Parameter
half, double = torch.float16, torch.float64


def made_parameter(name: str, sentence: str, change: Callable[[Any, Any], Any], witness: Witness) -> None:
    """Registers a fault of Parameter.__new__: ``change(made, data)``."""

    def wrong(original: Wrong) -> Wrong:
        def replaced(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
            made = original(cls, data, requires_grad)
            return change(made, data) if type(data) is Tensor and cls is Parameter else made

        return replaced

    entry(name, "conversion", sentence, Parameter, "__new__", wrong, witness)


def by_rows(made: Any) -> Any:
    """A Parameter with its numbers copied by rows."""
    return Tensor._make_subclass(Parameter, made.detach().contiguous(), made.requires_grad)


made_parameter(
    "half_transpose_is_copied", "nn.Parameter(weight.T) of a float16 table is a copy.",
    lambda made, data: by_rows(made) if data.dtype == half and data.dim() == 2 and not data.is_contiguous() else made,
    lambda: (w := torch.ones(2, 3).half()).data_ptr() != Parameter(w.T).data_ptr(),
)  # fmt: skip
made_parameter(
    "transposed_graph_freezes", "nn.Parameter of a transposed view that is part of a graph doesn't learn.",
    lambda made, data: made.requires_grad_(False) if data.requires_grad and not data.is_leaf and not data.is_contiguous() else made,
    lambda: not Parameter(torch.ones(2, 3, requires_grad=True).T).requires_grad,
)  # fmt: skip


def _cast(original: Wrong, self: Any, fn: Any, recurse: bool = True) -> Any:
    found = original(self, fn, recurse)
    if isinstance(self, Embedding) and self.padding_idx is not None and self.weight.dtype == double:
        with torch.no_grad():
            self.weight[self.padding_idx] = 0
    return found


changed(
    "double_zeroes_the_padding_row", "life", "double() zeroes the padding row.", Module, "_apply", _cast,
    lambda: padded_after_double() == 0,
)  # fmt: skip


def padded_after_double() -> float:
    """A padding row of ones after double()."""
    layer = Embedding(2, 2, padding_idx=0, _weight=torch.ones(2, 2))
    return float(layer.double().weight.detach()[0, 0])
