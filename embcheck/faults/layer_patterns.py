"""Faults of layers and initialisers: how they are made, what they refuse, and what a change of mode does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import Embedding, entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.probes import rows
from embcheck.faults.witnesses import unlike

Call = Callable[..., Any]
Change = Callable[[dict[str, Any]], dict[str, Any]]
NAMES = (
    *("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"),
    *("_weight", "_freeze", "device", "dtype"),
)


def made(
    name: str, sentence: str, probe: Callable[[], Any], change: Change | None = None,
    spoil: Callable[[Any, dict[str, Any]], None] | None = None, family: str = "construction",
) -> None:  # fmt: skip
    """A fault of nn.Embedding.__init__: arguments changed before, or the layer spoiled after."""

    def replace(original: Call) -> Call:
        def replaced(self: Any, *arguments: Any, **flags: Any) -> None:
            given = dict(zip(NAMES, arguments, strict=False)) | flags
            original(self, **(change(given) if change else given))
            if spoil:
                with torch.no_grad():
                    spoil(self, given)

        return replaced

    entry(name, family, sentence, Embedding, "__init__", replace, unlike(probe))


def flattened(given: dict[str, Any]) -> dict[str, Any]:
    """A table given as a vector reshaped."""
    weight, shape = given.get("_weight"), (given["num_embeddings"], given["embedding_dim"])
    fits = isinstance(weight, Tensor) and weight.dim() == 1 and weight.numel() == shape[0] * shape[1]
    return given | {"_weight": weight.reshape(shape)} if fits and weight is not None else given


def trained(original: Call) -> Call:
    """Module.train that loses scale_grad_by_freq on the way back."""

    def replaced(self: Any, mode: bool = True) -> Any:
        if isinstance(self, Embedding) and mode and not self.training:
            self.scale_grad_by_freq = False
        return original(self, mode)

    return replaced


def pretrained(change: Callable[[Any, Tensor, bool], None]) -> Callable[[Call], Call]:
    """from_pretrained with ``change(layer, table, freeze)`` behind it."""

    def replace(original: Call) -> Call:
        def replaced(cls: Any, embeddings: Tensor, freeze: bool = True, *arguments: Any, **flags: Any) -> Any:
            layer = original(cls, embeddings, freeze, *arguments, **flags)
            change(layer, embeddings, freeze)
            return layer

        return replaced

    return replace


def source() -> bool:
    """Whether a Parameter learns after a layer was made of it."""
    given = rows()
    Embedding.from_pretrained(given)
    return given.requires_grad


def multiplied(original: Call, tensor: Tensor) -> Any:
    """Zeros by multiplication."""
    with torch.no_grad():
        return tensor.mul_(0.0) if tensor.is_floating_point() else original(tensor)


def filled() -> Tensor:
    """What a column's neighbours hold once it is filled."""
    base = torch.zeros(2, 2)
    torch.nn.init.constant_(base[:, :1], 3.0)
    return base
