"""nn.EmbeddingBag as a layer: the case, and the program that makes one and tells what it is."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from embcheck.core.axes import Axes, Input
from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS, Array, Format
from embcheck.core.registry import into
from embcheck.families.lookup.programs import surroundings

Tensor = torch.Tensor
Layer = torch.nn.EmbeddingBag
Make = Callable[..., Layer]

#: How a layer is made; what may happen to it then.
MAKES: dict[str, Make] = {}
ACTS: dict[str, Callable[[Layer], Layer]] = {}

# -- programs ----------------------------------------------------------------------------------------------------


def describe(
    make: Make, act: Callable[[Layer], Layer], weight: Tensor, flags: dict[str, Any], learns: bool
) -> dict[str, Any]:
    weight.requires_grad_(learns)
    before = surroundings()
    made = make(weight, **flags)
    drew = surroundings() != before
    layer = act(made)
    told = ("num_embeddings", "embedding_dim", "max_norm", "norm_type", "scale_grad_by_freq", "sparse",
            "include_last_offset", "padding_idx")  # fmt: skip
    return {
        **{name: getattr(layer, name) for name in told},
        "reduction": layer.mode,
        "repr": repr(layer),
        "weight": layer.weight.detach(),
        "is_parameter": type(layer.weight) is torch.nn.Parameter and layer.weight.is_leaf,
        "learns": layer.weight.requires_grad,
        "names": [name for name, _ in layer.named_parameters()],
        "saved": list(layer.state_dict()),
        "buffers": len(list(layer.buffers())),
        "shares": layer.weight.data_ptr() == weight.data_ptr(),
        "changed": drew,
        "source_kept": weight.is_leaf and weight.requires_grad == learns and weight.grad is None,
        "training": layer.training,
    }


_make = into(MAKES)


@_make
def fresh(weight: Tensor, **flags: Any) -> Layer:
    return torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], dtype=weight.dtype, **flags)


@_make
def by_keywords(weight: Tensor, **flags: Any) -> Layer:
    rows, width = weight.shape
    return torch.nn.EmbeddingBag(num_embeddings=rows, embedding_dim=width, device="cpu", dtype=weight.dtype, **flags)


@_make
def given(weight: Tensor, **flags: Any) -> Layer:
    return torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], _weight=weight, **flags)


@_make
def pretrained(weight: Tensor, **flags: Any) -> Layer:
    return torch.nn.EmbeddingBag.from_pretrained(weight, **flags)


@_make
def pretrained_in_order(weight: Tensor, **flags: Any) -> Layer:
    names = ("max_norm", "norm_type", "scale_grad_by_freq", "mode", "sparse", "include_last_offset", "padding_idx")
    defaults = (None, 2.0, False, "mean", False, False, None)
    rest: Any = [flags.get(name, default) for name, default in zip(names, defaults, strict=True)]
    return torch.nn.EmbeddingBag.from_pretrained(weight, True, *rest)


@_make
def pretrained_learning(weight: Tensor, **flags: Any) -> Layer:
    return torch.nn.EmbeddingBag.from_pretrained(embeddings=weight, freeze=False, **flags)


class Bags(torch.nn.EmbeddingBag):
    def _get_name(self) -> str:
        return "EmbeddingBag"


@_make
def subclass_pretrained(weight: Tensor, **flags: Any) -> Layer:
    layer = Bags.from_pretrained(weight, **flags)
    if type(layer) is not Bags:
        raise AssertionError("from_pretrained of a subclass gives another class")
    return layer


_act = into(ACTS)


@_act
def nothing(layer: Layer) -> Layer:
    return layer


@_act
def reset(layer: Layer) -> Layer:
    layer.reset_parameters()
    return layer


@_act
def copied(layer: Layer) -> Layer:
    return copy.deepcopy(layer)


@_act
def saved(layer: Layer) -> Layer:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    again: Layer = torch.load(file, weights_only=False)
    return again


@_act
def evaluated(layer: Layer) -> Layer:
    return layer.eval().train()


@_act
def reloaded(layer: Layer) -> Layer:
    layer.load_state_dict(layer.state_dict())
    return layer


@_act
def evaluated_within(layer: Layer) -> Layer:
    torch.nn.Sequential(torch.nn.Embedding(1, 1), torch.nn.ModuleDict({"bag": layer})).eval()
    return layer


# -- the case ----------------------------------------------------------------------------------------------------


class _BagLayerAxes(NamedTuple):
    """The axes of a layer, simplest value first."""

    num_embeddings: int
    embedding_dim: int
    make: str = "fresh"
    act: str = "nothing"
    mode: str = "mean"
    padding_idx: int | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    sparse: bool = False
    include_last_offset: bool = False
    dtype: str = "float32"
    layout: str = "contiguous"
    seed: int = 0


class BagModuleCase(Axes, _BagLayerAxes):  # type: ignore[misc]
    """An nn.EmbeddingBag of ``num_embeddings`` rows and ``embedding_dim`` columns."""

    @property
    def format(self) -> Format:
        """The number format of the table."""
        return FORMATS[self.dtype]

    @property
    def table_stored(self) -> Array:
        """The table that is given, without a zero."""
        return LookupCase(self.num_embeddings, self.embedding_dim, dtype=self.dtype, seed=self.seed).weight_stored

    @property
    def drawn(self) -> bool:
        """Whether the table is drawn at random."""
        return self.make in ("fresh", "by_keywords") or self.act == "reset"

    @property
    def padding_row(self) -> int | None:
        """padding_idx, counted from the front."""
        return None if self.padding_idx is None else self.padding_idx % self.num_embeddings

    @property
    def flags(self) -> dict[str, Any]:
        """The keywords that differ from their defaults."""
        names = ("mode", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse", "include_last_offset")
        return {name: getattr(self, name) for name in names if getattr(self, name) != self._field_defaults[name]}

    @property
    def told(self) -> str:
        """The repr."""
        shown = {"max_norm": self.max_norm, "norm_type": self.norm_type, "scale_grad_by_freq": self.scale_grad_by_freq}
        words = [f"{name}={value!r}" for name, value in shown.items() if value != self._field_defaults[name]]
        words += [f"mode={self.mode!r}"] + ([] if self.padding_row is None else [f"padding_idx={self.padding_row}"])
        return f"EmbeddingBag({self.num_embeddings}, {self.embedding_dim}, {', '.join(words)})"

    @property
    def weight_input(self) -> Input:
        """The table as a tensor to feed."""
        return Input(self.table_stored, self.dtype, self.layout)

    def facts(self) -> dict[str, Any]:
        """The axes and: padded, negative_padding, drawn, elements."""
        return {
            **self.axes,
            "padded": self.padding_idx is not None,
            "negative_padding": self.padding_idx is not None and self.padding_idx < 0,
            "drawn": self.drawn,
            "elements": self.num_embeddings * self.embedding_dim,
        }
