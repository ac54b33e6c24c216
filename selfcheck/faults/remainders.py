"""Faults of what is left over: elements behind blocks, axes in the other order, regions left by an exception, keys that
are almost those of a module."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around
from selfcheck.faults.kernels import Tensor

Parameter = torch.nn.Parameter


# -- subclasses --------------------------------------------------------------------------------------------------------


def plain_rows(original: Any, input: Tensor, weight: Tensor, *given: Any, **flags: Any) -> Any:
    """Rows of a subclass's table are plain tensors without a padding_idx."""
    found = original(input, weight, *given, **flags)
    padded = bool(given and given[0] is not None) or flags.get("padding_idx") is not None
    odd = type(found) not in (torch.Tensor, Parameter) and "__torch_dispatch__" not in vars(type(found))
    return found.as_subclass(torch.Tensor) if odd and not padded and type(input) is torch.Tensor else found


around("rows_of_a_subclass_are_plain", "lookup", "A lookup without padding_idx in a table of a subclass is a plain tensor.",
       torch.nn.functional, "embedding", plain_rows, modes=("subclass",))  # fmt: skip
