"""Programs: a layer is made, filled and converted with tensors, and with two kinds that have no memory: fake ones, as a
compiler makes them, and those on the device meta.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into
from embcheck.families.default_init.programs import INITIALISERS
from embcheck.families.module_traversal.programs import CONVERSIONS

#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
#: Of the number of rows, that of columns, and the dtype: a layer.
SHADOW_LAYERS: dict[str, Callable[[int, int, torch.dtype], Module]] = {}


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


_layer = into(SHADOW_LAYERS)


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


def truncated_normal(part: torch.Tensor) -> Any:
    return torch.nn.init.trunc_normal_(part, std=0.02)


def eye(part: torch.Tensor) -> Any:
    return torch.nn.init.eye_(part)


def orthogonal(part: torch.Tensor) -> Any:
    return torch.nn.init.orthogonal_(part)


#: What fills a tensor; not sparse_, after which a later call with fake tensors may end the process.
SHADOW_FILLS: dict[str, Callable[[torch.Tensor], Any]] = {
    "as_made": INITIALISERS["default"],
    "uniform": INITIALISERS["uniform"],
    "normal": INITIALISERS["normal"],
    "truncated_normal": truncated_normal,
    "constant": INITIALISERS["constant"],
    "ones": INITIALISERS["ones"],
    "zeros": INITIALISERS["zeros"],
    "eye": eye,
    **{name: INITIALISERS[name] for name in ("xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal")},
    "orthogonal": orthogonal,
}


def to_dtype_by_name(layer: Module) -> Module:
    return layer.to(dtype=torch.bfloat16)


def to_tensor(layer: Module) -> Module:
    return layer.to(torch.ones(1, dtype=torch.float16))


def to_meta(layer: Module) -> Module:
    return layer.to("meta")


def to_empty(layer: Module) -> Module:
    return layer.to_empty(device="meta")


def to_cpu(layer: Module) -> Module:
    return layer.cpu()


def copied(layer: Module) -> Module:
    return copy.deepcopy(layer)


def loaded(layer: Module) -> Module:
    layer.load_state_dict({name: part.detach() for name, part in layer.state_dict().items()})
    return layer


def assigned(layer: Module) -> Module:
    layer.load_state_dict(layer.state_dict(), assign=True)
    return layer


def stopped(layer: Module) -> Module:
    return layer.requires_grad_(False)


def evaluated(layer: Module) -> Module:
    return layer.eval()


#: What is done to a layer: it gives a layer.
SHADOW_ACTS: dict[str, Callable[[Module], Module]] = {
    **{name: CONVERSIONS[name] for name in ("nothing", "double", "float", "half", "bfloat16")},
    "to_dtype": CONVERSIONS["to_double"],
    "to_dtype_by_name": to_dtype_by_name,
    "to_tensor": to_tensor,
    "to_type": CONVERSIONS["type_double"],
    **{act.__name__: act for act in (to_meta, to_empty, to_cpu, copied, loaded, assigned, stopped, evaluated)},
}
