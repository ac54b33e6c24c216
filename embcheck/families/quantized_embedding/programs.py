"""Programs: a layer is quantized and called."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.ao.nn.quantized
import torch.ao.quantization

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any


def quantized(
    layer: str,
    bits: int,
    flags: dict[str, Any],
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor | None = None,
    samples: Tensor | None = None,
) -> dict[str, Any]:
    kind = torch.nn.Embedding if layer == "embedding" else torch.nn.EmbeddingBag
    plain = kind.from_pretrained(weight, **flags)
    quantization: Any = torch.ao.quantization
    config = quantization.float_qparams_weight_only_qconfig
    if bits == 4:
        config = quantization.float_qparams_weight_only_qconfig_4bit
    given = (indices,) if layer == "embedding" else (indices, offsets, samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, in favour of another package
        narrow = from_float(plain, config)
    return {"value": narrow(*given)}


def from_float(plain: Module, config: Any) -> Module:
    plain.qconfig = config
    narrow: Any = torch.ao.nn.quantized
    return getattr(narrow, type(plain).__name__).from_float(plain)
