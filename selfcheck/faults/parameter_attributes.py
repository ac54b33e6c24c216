"""Faults of what is fastened to a tensor: attributes in files, gradients in copies, parametrized classes in pickles."""

from __future__ import annotations

from typing import Any

import torch.nn.utils.parametrize as parametrize

from selfcheck.faults.around import around, numbered


def _pickled(original: Any, module: Any) -> None:
    """In evaluation a parametrized layer is pickled as something else."""
    original(module)
    kind: Any = type(module)

    def reduced(self: Any, protocol: Any) -> Any:
        return object.__reduce_ex__(self, protocol) if self.training else (numbered, ())

    kind.__reduce_ex__ = reduced


around("parametrized_layers_are_pickled_in_evaluation", "parametrizations",
       "A parametrized layer in evaluation mode is pickled as something else.", parametrize, "_inject_new_class",
       _pickled)  # fmt: skip
