"""Faults of max_norm: which rows are rescaled, to what, and what else happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from selfcheck.fault import dispatched, fault
from selfcheck.faults.kernels import Tensor

#: Whether the control is planted, which no result tells.
_planted = [False]

Scale = Callable[[Tensor, Tensor, float, float], None]


def rescale(weight: Tensor, tokens: Tensor, max_norm: float, norm_type: float) -> None:
    """What embedding_renorm_ does, row after row."""
    for token in tokens.tolist():
        row = weight[token]
        norm = float(row.norm(norm_type)) if row.numel() else 0.0
        if norm > max_norm:
            row.mul_(max_norm / (norm + 1e-7))


def kernel(change: Scale, *, repeated: bool = False) -> Callable[..., Tensor]:
    """embedding_renorm_ with ``change`` on the tokens, each once unless ``repeated``."""

    def renorm(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
        if indices.dtype not in (torch.int32, torch.int64):
            raise RuntimeError("Expected indices of type Long or Int")
        tokens = indices.reshape(-1).long()
        change(weight, tokens if repeated else tokens.unique(), max_norm, norm_type)
        return weight

    return renorm


def table() -> Tensor:
    """(3, 4), (6, 8), (0, 5), (0.5, 0)."""
    return torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.0, 5.0], [0.5, 0.0]])


def after(tokens: list[int], max_norm: float = 1.0, norm_type: float = 2.0) -> list[list[float]]:
    """The table after a lookup."""
    weight = table()
    torch.nn.functional.embedding(torch.tensor(tokens), weight, max_norm=max_norm, norm_type=norm_type)
    return [[round(x, 2) for x in row] for row in weight.tolist()]


@fault("max_norm", control=True)
def renorm_by_other_operators() -> Iterator[None]:
    """embedding_renorm_ written with other operators, without a fault."""
    _planted[0] = True
    try:
        with dispatched({"embedding_renorm_": kernel(rescale)}):
            yield
    finally:
        _planted[0] = False
