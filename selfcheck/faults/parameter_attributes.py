"""Faults of what is fastened to a tensor: attributes in files, gradients in copies, parametrized classes in pickles."""

from __future__ import annotations

import pickle
from typing import Any

import torch
import torch.nn.utils.parametrize as parametrize

from selfcheck.faults.around import around, numbered


def _pickled(original: Any, module: Any) -> None:
    """In evaluation a parametrized layer is pickled as something else."""
    original(module)
    kind: Any = type(module)

    def reduced(self: Any, protocol: Any) -> Any:
        return object.__reduce_ex__(self, protocol) if self.training else (numbered, ())

    kind.__reduce_ex__ = reduced


def _pickled_in_evaluation() -> Any:
    layer = torch.nn.Embedding(2, 2)
    parametrize.register_parametrization(layer, "weight", torch.nn.Identity())
    layer.eval()
    try:
        pickle.dumps(layer)
    except RuntimeError:
        return "refused"
    return "pickled"


around("parametrized_layers_are_pickled_in_evaluation", "parametrizations",
       "A parametrized layer in evaluation mode is pickled as something else.", parametrize, "_inject_new_class",
       _pickled, _pickled_in_evaluation)  # fmt: skip
