"""Programs: a layer is made, filled and converted with tensors, and with two kinds that have no memory: fake ones, as a
compiler makes them, and those on the device meta.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from embcheck.registry import into

#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
#: Of the number of rows, that of columns, and the dtype: a layer.
SHADOW_LAYERS: dict[str, Callable[[int, int, torch.dtype], Module]] = {}
#: What fills a tensor; not sparse_, after which a later call with fake tensors may end the process.
SHADOW_FILLS: dict[str, Callable[[torch.Tensor], Any]] = {}
#: What is done to a layer: it gives a layer.
SHADOW_ACTS: dict[str, Callable[[Module], Module]] = {}


def layer_told(
    make: Callable[[int, int, torch.dtype], Module],
    fill: Callable[[torch.Tensor], Any],
    act: Callable[[Module], Module],
    kind: str,
    warm: bool,
    rows: int,
    width: int,
    dtype: str,
) -> dict[str, Any]:
    import contextlib
    import warnings

    from torch._subclasses.fake_tensor import FakeTensorMode

    def told() -> list[Any]:
        layer = make(rows, width, getattr(torch, dtype))
        for part in layer.parameters():
            if part.dim() == 2:
                fill(part)
        parts = list(act(layer).named_parameters(remove_duplicate=False))
        order = [id(part) for _, part in parts]
        return [
            (name, tuple(part.shape), str(part.dtype).removeprefix("torch."), part.requires_grad, order.index(id(part)))
            for name, part in parts
            if isinstance(part, torch.nn.Parameter) and part.is_leaf
        ]

    if kind == "meta":
        with torch.device("meta"):
            return {"parameters": told()}
    with FakeTensorMode() as mode, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # copying a fake tensor warns
        mode.cache_clear()  # which holds what operators gave to earlier ones
        for _ in range(4 if warm else 0):  # after which each parameter's conversion has been seen
            with contextlib.suppress(RuntimeError):
                told()
        return {"parameters": told()}


_layer, _fill, _act = into(SHADOW_LAYERS), into(SHADOW_FILLS), into(SHADOW_ACTS)


@_layer
def embedding(rows: int, width: int, dtype: torch.dtype) -> Module:
    return torch.nn.Embedding(rows, width, padding_idx=0, dtype=dtype)


@_layer
def bag(rows: int, width: int, dtype: torch.dtype) -> Module:
    return torch.nn.EmbeddingBag(rows, width, dtype=dtype)


@_layer
def linear(rows: int, width: int, dtype: torch.dtype) -> Module:
    return torch.nn.Linear(width, rows, dtype=dtype)


@_layer
def frozen(rows: int, width: int, dtype: torch.dtype) -> Module:
    return torch.nn.Embedding.from_pretrained(torch.ones(rows, width, dtype=dtype))


@_layer
def tied(rows: int, width: int, dtype: torch.dtype) -> Module:
    table = torch.nn.Embedding(rows, width, dtype=dtype)
    head = torch.nn.Linear(width, rows, bias=False, dtype=dtype)
    head.weight = table.weight
    return torch.nn.ModuleDict({"table": table, "head": head})


@_fill
def as_made(part: torch.Tensor) -> Any:
    pass


@_fill
def uniform(part: torch.Tensor) -> Any:
    return torch.nn.init.uniform_(part, -1.0, 1.0)


@_fill
def normal(part: torch.Tensor) -> Any:
    return torch.nn.init.normal_(part, std=0.02)


@_fill
def truncated_normal(part: torch.Tensor) -> Any:
    return torch.nn.init.trunc_normal_(part, std=0.02)


@_fill
def constant(part: torch.Tensor) -> Any:
    return torch.nn.init.constant_(part, 0.5)


@_fill
def ones(part: torch.Tensor) -> Any:
    return torch.nn.init.ones_(part)


@_fill
def zeros(part: torch.Tensor) -> Any:
    return torch.nn.init.zeros_(part)


@_fill
def eye(part: torch.Tensor) -> Any:
    return torch.nn.init.eye_(part)


@_fill
def xavier_uniform(part: torch.Tensor) -> Any:
    return torch.nn.init.xavier_uniform_(part)


@_fill
def xavier_normal(part: torch.Tensor) -> Any:
    return torch.nn.init.xavier_normal_(part)


@_fill
def kaiming_uniform(part: torch.Tensor) -> Any:
    return torch.nn.init.kaiming_uniform_(part)


@_fill
def kaiming_normal(part: torch.Tensor) -> Any:
    return torch.nn.init.kaiming_normal_(part)


@_fill
def orthogonal(part: torch.Tensor) -> Any:
    return torch.nn.init.orthogonal_(part)


@_act
def nothing(layer: Module) -> Module:
    return layer


@_act
def double(layer: Module) -> Module:
    return layer.double()


@_act
def float_(layer: Module) -> Module:
    return layer.float()


@_act
def half(layer: Module) -> Module:
    return layer.half()


@_act
def bfloat16(layer: Module) -> Module:
    return layer.bfloat16()


@_act
def to_dtype(layer: Module) -> Module:
    return layer.to(torch.float64)


@_act
def to_dtype_by_name(layer: Module) -> Module:
    return layer.to(dtype=torch.bfloat16)


@_act
def to_tensor(layer: Module) -> Module:
    return layer.to(torch.ones(1, dtype=torch.float16))


@_act
def to_type(layer: Module) -> Module:
    return layer.type(torch.float64)


@_act
def to_meta(layer: Module) -> Module:
    return layer.to("meta")


@_act
def to_empty(layer: Module) -> Module:
    return layer.to_empty(device="meta")


@_act
def to_cpu(layer: Module) -> Module:
    return layer.cpu()


@_act
def copied(layer: Module) -> Module:
    return copy.deepcopy(layer)


@_act
def loaded(layer: Module) -> Module:
    layer.load_state_dict({name: part.detach() for name, part in layer.state_dict().items()})
    return layer


@_act
def assigned(layer: Module) -> Module:
    layer.load_state_dict(layer.state_dict(), assign=True)
    return layer


@_act
def stopped(layer: Module) -> Module:
    return layer.requires_grad_(False)


@_act
def evaluated(layer: Module) -> Module:
    return layer.eval()
