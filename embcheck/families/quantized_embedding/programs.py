"""Programs: a layer is quantized, copied and called.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.ao.nn.quantized
import torch.ao.quantization

from embcheck.core.registry import into

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any

MADE: dict[str, Callable[[Module, Any], Module]] = {}
AFTER: dict[str, Callable[[Module], Module]] = {}
made, after = into(MADE), into(AFTER)


def quantized(
    make: Callable[[Module, Any], Module],
    act: Callable[[Module], Module],
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
        narrow = make(plain, config)
        copied = act(narrow)
    value = copied(*given)
    return {"value": value, "as_before": torch.equal(narrow(*given), value)}


@made
def from_float(plain: Module, config: Any) -> Module:
    plain.qconfig = config
    narrow: Any = torch.ao.nn.quantized
    return getattr(narrow, type(plain).__name__).from_float(plain)


@made
def converted(plain: Module, config: Any) -> Module:
    quantization: Any = torch.ao.quantization
    model = torch.nn.Sequential(plain)
    plain.qconfig = config
    return quantization.convert(quantization.prepare(model))[0]


@after
def nothing(layer: Module) -> Module:
    return layer


@after
def deepcopied(layer: Module) -> Module:
    return copy.deepcopy(layer)


@after
def pickled(layer: Module) -> Module:
    return pickle.loads(pickle.dumps(layer))


@after
def saved(layer: Module) -> Module:
    memory = io.BytesIO()
    torch.save(layer, memory)
    memory.seek(0)
    return torch.load(memory, weights_only=False)
