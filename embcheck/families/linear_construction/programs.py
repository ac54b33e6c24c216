"""Programs: linear layers are made, with every way to say that there is a bias, or none.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into
from embcheck.families.construction.seeding import seeded

Make = Callable[[int, int, Any, torch.dtype], Any]
LAYERS: dict[str, Make] = {}


def layered(make: Make, inputs: int, outputs: int, bias: Any, dtype: str, seed: int) -> dict[str, Any]:
    import copy
    import warnings

    kind = getattr(torch, dtype)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # initialising nothing warns
        seeded(seed)
        state = torch.get_rng_state()
        layer = make(inputs, outputs, bias, kind)
        drew = not torch.equal(torch.get_rng_state(), state)
        following = make(inputs, outputs, bias, kind)
        seeded(seed)
        again = make(inputs, outputs, bias, kind)
    parameters = dict(layer.named_parameters())
    meta = layer.weight.is_meta

    def flat(module: Any) -> Any:
        return torch.cat([p.detach().reshape(-1) for p in module.parameters()]) if not meta else torch.zeros(0)

    other = copy.deepcopy(layer)
    return {
        "names": list(parameters),
        "keys": list(layer.state_dict()),
        "has_bias": layer.bias is not None,
        "registered": "bias" in layer._parameters,
        "sizes": [layer.in_features, layer.out_features],
        "shapes": [tuple(p.shape) for p in parameters.values()],
        "dtypes": [str(p.dtype).removeprefix("torch.") for p in parameters.values()],
        "devices": [str(p.device) for p in parameters.values()],
        "kinds": all(type(p) is torch.nn.Parameter and p.is_leaf and p.is_contiguous() for p in parameters.values()),
        "trains": all(p.requires_grad and p.grad is None for p in parameters.values()),
        "training": layer.training,
        "shown": repr(layer),
        "drew": drew,
        "meta": meta,
        "values": flat(layer),
        "following": flat(following),
        "again": flat(again),
        "copied": flat(other),
        "apart": meta or not layer.weight.numel() or other.weight.data_ptr() != layer.weight.data_ptr(),
    }


_layer = into(LAYERS)


@_layer
def positional(inputs: int, outputs: int, bias: Any, dtype: torch.dtype) -> Any:
    return torch.nn.Linear(inputs, outputs, bias, None, dtype)


@_layer
def keyword(inputs: int, outputs: int, bias: Any, dtype: torch.dtype) -> Any:
    return torch.nn.Linear(in_features=inputs, out_features=outputs, bias=bias, device="cpu", dtype=dtype)


@_layer
def by_default_dtype(inputs: int, outputs: int, bias: Any, dtype: torch.dtype) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return torch.nn.Linear(inputs, outputs, bias=bias)
    finally:
        torch.set_default_dtype(before)


@_layer
def on_meta(inputs: int, outputs: int, bias: Any, dtype: torch.dtype) -> Any:
    return torch.nn.Linear(inputs, outputs, bias=bias, device="meta", dtype=dtype)


@_layer
def emptied(inputs: int, outputs: int, bias: Any, dtype: torch.dtype) -> Any:
    layer = torch.nn.Linear(inputs, outputs, bias=bias, device="meta", dtype=dtype).to_empty(device="cpu")
    layer.reset_parameters()
    return layer


@_layer
def skipped(inputs: int, outputs: int, bias: Any, dtype: torch.dtype) -> Any:
    layer = torch.nn.utils.skip_init(torch.nn.Linear, inputs, outputs, bias=bias, dtype=dtype)
    layer.reset_parameters()
    return layer


@_layer
def converted(inputs: int, outputs: int, bias: Any, dtype: torch.dtype) -> Any:
    return torch.nn.Linear(inputs, outputs, bias=bias).to(dtype)


@_layer
def without_grad(inputs: int, outputs: int, bias: Any, dtype: torch.dtype) -> Any:
    with torch.no_grad():
        return torch.nn.Linear(inputs, outputs, bias=bias, dtype=dtype)


@_layer
def in_inference(inputs: int, outputs: int, bias: Any, dtype: torch.dtype) -> Any:
    with torch.inference_mode(), torch.inference_mode(False):
        return torch.nn.Linear(inputs, outputs, bias=bias, dtype=dtype)


@_layer
def reset_twice(inputs: int, outputs: int, bias: Any, dtype: torch.dtype) -> Any:
    layer = torch.nn.Linear(inputs, outputs, bias=bias, dtype=dtype)
    with torch.no_grad():
        for p in layer.parameters():
            p.fill_(7.0)
    layer.reset_parameters()
    return layer
