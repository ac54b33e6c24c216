"""Faults of how an nn.EmbeddingBag is made: its arguments, its first table, and tables that are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor

EmbeddingBag = torch.nn.EmbeddingBag
Parameter = torch.nn.Parameter


def made(name: str, sentence: str, spoil: Callable[[Any, Any], None], witness: Witness) -> None:
    """Registers a fault: ``spoil(layer, given table or None)`` after nn.EmbeddingBag.__init__."""

    def replace(original: Callable[..., None]) -> Callable[..., None]:
        def init(self: Any, *arguments: Any, **keywords: Any) -> None:
            original(self, *arguments, **keywords)
            given = keywords.get("_weight", arguments[7] if len(arguments) > 7 else None)
            with torch.no_grad():
                spoil(self, given)

        return init

    entry(name, "bag_layer", sentence, EmbeddingBag, "__init__", replace, witness)


def replaced(layer: Any, table: Tensor, learns: bool = True) -> None:
    """Another table for a layer."""
    layer.weight = Parameter(table, requires_grad=learns)


def filled(layer: Any, row: int | None, value: float) -> None:
    """A row of a layer's table overwritten."""
    if row is not None:
        layer.weight[row] = value


def bag(**flags: Any) -> Any:
    """A layer of three rows."""
    return EmbeddingBag(3, 2, **flags)


made(
    "bagl_limit_zero_is_none", "max_norm=0 is taken for none.",
    lambda layer, given: setattr(layer, "max_norm", layer.max_norm or None), lambda: bag(max_norm=0.0).max_norm is None,
)  # fmt: skip
made(
    "bagl_norm_type_is_finite", "norm_type=inf is kept as 2.",
    lambda layer, given: setattr(layer, "norm_type", 2.0 if layer.norm_type == float("inf") else layer.norm_type),
    lambda: bag(norm_type=float("inf")).norm_type == 2.0,
)  # fmt: skip
made(
    "bagl_padding_zero_is_none", "padding_idx=0 is not kept.",
    lambda layer, given: setattr(layer, "padding_idx", layer.padding_idx or None), lambda: bag(padding_idx=0).padding_idx is None,
)  # fmt: skip
made(
    "bagl_last_row_is_drawn", "A padding row that is the last is drawn like the others.",
    lambda layer, given: filled(layer, layer.padding_idx, 1.0)
    if given is None and layer.padding_idx == layer.num_embeddings - 1 else None,
    lambda: bool(bag(padding_idx=2).weight[2].any()),
)  # fmt: skip
made(
    "bagl_row_zero_is_zero", "Row 0 is zero whether it is padding or not.",
    lambda layer, given: filled(layer, 0 if given is None and len(layer.weight) else None, 0.0),
    lambda: not bag().weight[0].any(),
)  # fmt: skip
made(
    "bagl_given_padding_is_zeroed", "The padding row of a table that is given is set to zero.",
    lambda layer, given: filled(layer, None if given is None else layer.padding_idx, 0.0),
    lambda: not bag(padding_idx=1, _weight=torch.ones(3, 2)).weight[1].any(),
)  # fmt: skip
made(
    "bagl_given_is_copied", "A table that is given is copied.",
    lambda layer, given: None if given is None else replaced(layer, layer.weight.detach().clone()), lambda: copies(),
)  # fmt: skip
made(
    "bagl_uniform", "The table is drawn from U(-√3, √3), whose first two moments are those of N(0, 1).",
    lambda layer, given: None if given is not None else uniform(layer),
    lambda: float(EmbeddingBag(100, 10).weight.abs().max()) < 1.74,
)  # fmt: skip
made(
    "bagl_half_is_shifted", "The table is drawn with a mean of 0.2 in float16.",
    lambda layer, given: None if given is not None or layer.weight.dtype != torch.float16 else shifted(layer),
    lambda: float(EmbeddingBag(100, 10, dtype=torch.float16).weight.float().mean()) > 0.1,
)  # fmt: skip
made(
    "bagl_dtype_is_forgotten", "bfloat16 is not asked for.",
    lambda layer, given: None if given is not None or layer.weight.dtype != torch.bfloat16
    else replaced(layer, layer.weight.detach().float()),
    lambda: bag(dtype=torch.bfloat16).weight.dtype != torch.bfloat16,
)  # fmt: skip
made(
    "bagl_has_a_buffer", "With padding the layer has a buffer.",
    lambda layer, given: None if layer.padding_idx is None else layer.register_buffer("mask", torch.ones(1)),
    lambda: len(bag(padding_idx=0).state_dict()) != 1,
)  # fmt: skip
made(
    "bagl_sums_are_frozen", "A layer with mode='sum' does not learn.",
    lambda layer, given: None if layer.mode != "sum" or given is not None else replaced(layer, layer.weight.detach(), False),
    lambda: not bag(mode="sum").weight.requires_grad,
)  # fmt: skip
made(
    "bagl_given_draws", "A table that is given costs random numbers.",
    lambda layer, given: None if given is None else drawn(), lambda: draws(),
)  # fmt: skip
made(
    "bagl_double_padding_is_refused", "float64 with padding_idx=0 is refused.",
    lambda layer, given: refused() if layer.padding_idx == 0 and layer.weight.dtype == torch.float64 else None,
    lambda: not accepts(padding_idx=0, dtype=torch.float64),
)  # fmt: skip


def refused() -> None:
    """An error."""
    raise AssertionError("padding_idx must be within num_embeddings")


def accepts(**flags: Any) -> bool:
    """Whether a layer can be made."""
    try:
        bag(**flags)
    except AssertionError:
        return False
    return True


def shifted(layer: Any) -> None:
    """0.2 more, without padding."""
    layer.weight.add_(0.2)
    filled(layer, layer.padding_idx, 0.0)


def uniform(layer: Any) -> None:
    """Another distribution, without padding."""
    layer.weight.uniform_(-(3**0.5), 3**0.5)
    filled(layer, layer.padding_idx, 0.0)


def drawn() -> None:
    """A random number."""
    torch.rand(1)


def draws() -> bool:
    """Whether a given table moves the random numbers."""
    kept = torch.get_rng_state()
    bag(_weight=torch.ones(3, 2))
    return not torch.equal(kept, torch.get_rng_state())


def copies() -> bool:
    """Whether a given table is copied."""
    table = torch.ones(3, 2)
    return bool(bag(_weight=table).weight.data_ptr() != table.data_ptr())
