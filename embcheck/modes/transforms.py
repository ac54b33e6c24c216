"""Modes that transform the call: functional calls, batching, derivatives' transforms, checkpoints, autocast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.modes.layer import (
    BOTH,
    FUNC,
    IN_PLACE,
    MODULE,
    TABLE,
    TRANSFORMING,
    VMAPPED,
    Build,
    Call,
    Tensor,
    as_module,
    handed,
    inside,
    on_routes,
)
from embcheck.modes.mode import Program, mode

_FUNCTIONAL = {"limited": f"{IN_PLACE}, which a function may not"}
_GIVEN = MODULE | {"limited & entry=loaded": "the table that is called is the given one, not a copy"}
#: Saved tensors' hooks, which checkpoints work by, stand in no transform of torch.func.
_UNHOOKED = on_routes(
    ("checkpointed", "checkpointed_with_the_table", "saved_hooks"),
    "torch.func: no saved tensors' hooks in grad and vjp",
)
_NO_FUNC = on_routes((*FUNC, *VMAPPED), "torch.func: no saved tensors' hooks in its transforms")
#: What vmap has no rule for.
_MAPPED = {
    "limited": "vmap has no rule for embedding_renorm_, which writes to the table",
    "scale_grad_by_freq": "whose tokens are counted, a sample's or all samples', nothing says",
}
#: What forward mode can't do.
_NO_TANGENT = {"route=forward_mode": "forward mode is not nested"} | {
    f"entry={name}": "embedding_bag has no forward mode"
    for name in ("bag_sum", "bag_mean", "bag_max", "bag_twice", "bag_between_empty", "bag_module")
}
#: What a stack of tables can't do.
_STACKED = {
    "route=autograd_grad": "the gradient of a stack is a view",
    "sparse": "the rule reshapes the gradient, which a sparse one can't be",
    "num_embeddings=0": "the tables around have rows",
}
#: The products with one_hot, which autocast computes in the smaller dtype.
_PRODUCTS = {f"entry={name}": "autocast multiplies in the smaller dtype" for name in ("linear", "one_hot_product")}


@mode("functional_call", calls=BOTH, rebuilds=True, cannot=_GIVEN)
def functional_call(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.func.functional_call, with the table in place of a module's own parameter, which is NaN."""

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        layer = as_module(build, torch.full_like(weight, float("nan")), flags)
        ((name, own),) = layer.named_parameters()
        with torch.no_grad():
            own.fill_(float("nan"))
        return weight, lambda *given: torch.func.functional_call(layer, {name: weight}, given)

    return program(build=built, **arguments)


@mode("stateless", calls=BOTH, rebuilds=True, cannot=_GIVEN, lacking=lambda: None if hasattr(torch.nn.utils, "stateless") else
      "this release has no torch.nn.utils.stateless")  # fmt: skip
def stateless(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.func.functional_call with a tuple of dictionaries, as for ensembles, and tie_weights off."""

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        layer = as_module(build, torch.full_like(weight, float("nan")), flags)
        ((name, own),) = layer.named_parameters()
        with torch.no_grad():
            own.fill_(float("nan"))
        return weight, lambda *given: torch.nn.utils.stateless._functional_call(layer, {name: weight}, given)

    return program(build=built, **arguments)


@mode("vmap", calls=TABLE, cannot=_MAPPED)
def vmap(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.vmap over the first axis of the indices."""

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        leaf, call = build(weight, **flags)
        return leaf, lambda given: torch.vmap(call)(given) if given.numel() and given.dim() else call(given)

    return program(build=built, **arguments)


@mode("vmap_chunks", calls=TABLE, cost=3, cannot=_MAPPED | {"sparse": "the chunks' gradients are added"})
def vmap_chunks(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.vmap over the first axis of the indices, two entries at a time."""

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        leaf, call = build(weight, **flags)
        mapped = torch.vmap(call, chunk_size=2)
        return leaf, lambda given: mapped(given) if given.numel() and given.dim() else call(given)

    return program(build=built, **arguments)


@mode("vmap_last", calls=TABLE, cannot=_MAPPED)
def vmap_last(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.vmap over the last axis of the indices; the result is made contiguous, as its axes were moved."""

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        leaf, call = build(weight, **flags)
        mapped = torch.vmap(call, in_dims=-1, out_dims=-2)
        return leaf, lambda given: mapped(given).contiguous() if given.numel() and given.dim() else call(given)

    return program(build=built, **arguments)


@mode("vmap_nested", calls=TABLE, cannot=_MAPPED | {"rank=0": "it needs two axes", "rank=1": "it needs two axes"})
def vmap_nested(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.vmap over the first axis inside torch.vmap over the first axis."""

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        leaf, call = build(weight, **flags)
        mapped = torch.vmap(torch.vmap(call))
        return leaf, lambda given: mapped(given) if given.numel() and given.dim() > 1 else call(given)

    return program(build=built, **arguments)


@mode("vmap_tables", calls=TABLE, rebuilds=True, cannot=_FUNCTIONAL | _STACKED)
def vmap_tables(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.vmap over a stack of two tables, of which the first is NaN; the second's result is taken."""

    def around(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
        tables = torch.stack((torch.full_like(table, float("nan")), table))
        return torch.vmap(lambda one: function(one, *given))(tables)[1].contiguous()

    return program(build=handed(build, around), **arguments)


@mode("vmap_tables_and_indices", calls=TABLE, rebuilds=True, cannot=_FUNCTIONAL | _STACKED)
def vmap_tables_and_indices(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.vmap over a stack of three tables and one of indices: NaN around the table, zeros around its indices."""

    def around(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
        other, zero = torch.full_like(table, float("nan")), torch.zeros_like(given[0])
        tables, indices = torch.stack((other, table, other)), torch.stack((zero, given[0], zero))
        return torch.vmap(function)(tables, indices)[1].contiguous()

    return program(build=handed(build, around), **arguments)


@mode("jvp", calls=TABLE, rebuilds=True, cannot=_FUNCTIONAL | _NO_TANGENT)
def jvp(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """The primal output of torch.func.jvp by the table."""

    def around(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
        return torch.func.jvp(lambda one: function(one, *given), (table,), (torch.ones_like(table),))[0]  # type: ignore[no-any-return]

    return program(build=handed(build, around), **arguments)


@mode("vjp", calls=BOTH, rebuilds=True, cannot=_FUNCTIONAL | _UNHOOKED | {"entry=forward_only": "it has no derivative"})
def vjp(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """The output of torch.func.vjp by the table, differentiated once more from outside."""

    def around(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
        return torch.func.vjp(lambda one: function(one, *given), table)[0]  # type: ignore[no-any-return]

    return program(build=handed(build, around), **arguments)


@mode(
    "func_grad",
    calls=BOTH,
    rebuilds=True,
    cannot=_FUNCTIONAL
    | _UNHOOKED
    | {"sparse & scale_grad_by_freq": "it has no derivative", "entry=forward_only": "it has no derivative"}
    | {"sparse & route=batched": "a batched gradient is not sparse"},
)
def func_grad(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """The auxiliary output of torch.func.grad by the table."""

    def around(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
        def loss(one: Tensor) -> tuple[Tensor, Tensor]:
            value = function(one, *given)
            return value.sum(), value

        return torch.func.grad(loss, has_aux=True)(table)[1]  # type: ignore[no-any-return]

    return program(build=handed(build, around), **arguments)


@mode("functionalize", calls=BOTH, rebuilds=True, cannot=_FUNCTIONAL)
def functionalize(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.func.functionalize."""

    def around(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
        return torch.func.functionalize(lambda one: function(one, *given))(table)  # type: ignore[no-any-return]

    return program(build=handed(build, around), **arguments)


@mode("checkpoint", calls=BOTH, cannot=_NO_FUNC | {"limited": "computing again rescales again"})
def checkpoint(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.utils.checkpoint, use_reentrant=False."""

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        leaf, call = build(weight, **flags)
        return leaf, lambda *given: torch.utils.checkpoint.checkpoint(call, *given, use_reentrant=False)

    return program(build=built, **arguments)


@mode("checkpoint_reentrant", calls=BOTH, rebuilds=True, cannot=_FUNCTIONAL | on_routes(
    ("autograd_grad", "create_graph", "double_backward", *TRANSFORMING),
    "torch.utils.checkpoint: use_reentrant=True has no torch.autograd.grad and no double backward",
) | {"history=gradient_held": "torch.utils.checkpoint: use_reentrant=True has no torch.autograd.grad"})  # fmt: skip
def checkpoint_reentrant(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.utils.checkpoint, use_reentrant=True, with the table among its arguments."""

    def around(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
        return torch.utils.checkpoint.checkpoint(function, table, *given, use_reentrant=True)  # type: ignore[no-any-return]

    return program(build=handed(build, around), **arguments)


def narrowed(build: Build, dtype: torch.dtype, arguments: Mapping[str, Any]) -> Build:
    """Calls under torch.autocast on the CPU; what doesn't learn without gradients, as where a model is only used."""
    learns = bool(arguments.get("requires_grad", True)) and arguments.get("learns") != "none"
    quiet = inside(build, lambda: torch.set_grad_enabled(learns and torch.is_grad_enabled()))
    return inside(quiet, lambda: torch.autocast("cpu", dtype=dtype))


@mode("autocast_bfloat16", calls=BOTH, cannot=_PRODUCTS)
def autocast_bfloat16(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.autocast on the CPU to bfloat16: a lookup stays in its table's dtype."""
    return program(build=narrowed(build, torch.bfloat16, arguments), **arguments)


@mode("autocast_float16", calls=BOTH, cannot=_PRODUCTS)
def autocast_float16(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.autocast on the CPU to float16: a lookup stays in its table's dtype."""
    return program(build=narrowed(build, torch.float16, arguments), **arguments)


@mode("save_on_cpu", calls=BOTH, cannot=_NO_FUNC)
def save_on_cpu(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.autograd.graph.save_on_cpu: what backward needs is packed and unpacked by hooks."""
    return program(build=inside(build, torch.autograd.graph.save_on_cpu), **arguments)
