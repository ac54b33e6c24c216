"""Modes that transform the call: functional calls, batching, derivatives' transforms, checkpoints, autocast."""

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
    VMAPPED,
    Build,
    Call,
    Tensor,
    as_module,
    handed,
    inside,
    on_routes,
    recalled,
)
from embcheck.modes.mode import Program, add_mode, build_mode, mode

_FUNCTIONAL = {"limited": f"{IN_PLACE}, which a function may not"}
_GIVEN = MODULE | {"limited & entry=loaded": "the table that is called is the given one, not a copy"}
#: Saved tensors' hooks, which checkpoints work by, stand in no transform of torch.func.
_UNHOOKED = on_routes(
    ("checkpointed", "checkpointed_with_the_table"), "torch.func: no saved tensors' hooks in grad and vjp"
)
_NO_FUNC = on_routes((*FUNC, *VMAPPED), "torch.func: no saved tensors' hooks in its transforms")
#: What vmap has no rule for.
_MAPPED = {
    "limited": "vmap has no rule for embedding_renorm_, which writes to the table",
    "scale_grad_by_freq": "whose tokens are counted, a sample's or all samples', nothing says",
}
#: What forward mode can't do.
_NO_TANGENT = {"route=forward_mode": "forward mode is not nested"} | {
    f"entry={name}": "embedding_bag has no forward mode" for name in ("bag_sum", "bag_mean", "bag_max", "bag_module")
}
#: What a stack of tables can't do.
_STACKED = {
    "route=autograd_grad": "the gradient of a stack is a view",
    "sparse": "the rule reshapes the gradient, which a sparse one can't be",
    "num_embeddings=0": "the tables around have rows",
}
#: The products with one_hot, which autocast computes in the smaller dtype.
_PRODUCTS = {f"entry={name}": "autocast multiplies in the smaller dtype" for name in ("linear", "one_hot_product")}


def called_by_func(build: Build) -> Build:
    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        _, layer = as_module(build, torch.full_like(weight, float("nan")), flags)
        ((name, own),) = layer.named_parameters()
        with torch.no_grad():
            own.fill_(float("nan"))
        return weight, lambda *given: torch.func.functional_call(layer, {name: weight}, given)

    return built


_WORDS = "torch.func.functional_call, with the table in place of a module's own parameter, which is NaN."
add_mode("functional_call", _WORDS, called_by_func, calls=BOTH, rebuilds=True, cannot=_GIVEN)


@build_mode("vmap", recalled, calls=TABLE, cannot=_MAPPED)
def mapped(call: Call) -> Call:
    """torch.vmap over the first axis of the indices."""
    return lambda given: torch.vmap(call)(given) if given.numel() and given.dim() else call(given)


_TWO_AXES = {"rank=0": "it needs two axes", "rank=1": "it needs two axes"}


@build_mode("vmap_nested", recalled, calls=TABLE, cannot=_MAPPED | _TWO_AXES)
def mapped_twice(call: Call) -> Call:
    """torch.vmap over the first axis inside torch.vmap over the first axis."""
    mapped = torch.vmap(torch.vmap(call))
    return lambda given: mapped(given) if given.numel() and given.dim() > 1 else call(given)


@build_mode("vmap_tables_and_indices", handed, calls=TABLE, rebuilds=True, cannot=_FUNCTIONAL | _STACKED)
def over_tables_and_indices(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
    """torch.vmap over a stack of three tables and one of indices: NaN around the table, zeros around its indices."""
    other, zero = torch.full_like(table, float("nan")), torch.zeros_like(given[0])
    tables, indices = torch.stack((other, table, other)), torch.stack((zero, given[0], zero))
    return torch.vmap(function)(tables, indices)[1].contiguous()


@build_mode("jvp", handed, calls=TABLE, rebuilds=True, cannot=_FUNCTIONAL | _NO_TANGENT)
def primal_of_jvp(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
    """The primal output of torch.func.jvp by the table."""
    return torch.func.jvp(lambda one: function(one, *given), (table,), (torch.ones_like(table),))[0]  # type: ignore[no-any-return]


_UNDERIVED = _FUNCTIONAL | _UNHOOKED | {"entry=forward_only": "it has no derivative"}


@build_mode("vjp", handed, calls=BOTH, rebuilds=True, cannot=_UNDERIVED)
def output_of_vjp(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
    """The output of torch.func.vjp by the table, differentiated once more from outside."""
    return torch.func.vjp(lambda one: function(one, *given), table)[0]  # type: ignore[no-any-return]


_UNDERIVED_TWICE = _UNDERIVED | {
    "sparse & scale_grad_by_freq": "it has no derivative",
    "sparse & route=batched": "a batched gradient is not sparse",
}


@build_mode("func_grad", handed, calls=BOTH, rebuilds=True, cannot=_UNDERIVED_TWICE)
def beside_the_gradient(function: Call, table: Tensor, given: tuple[Any, ...]) -> Tensor:
    """The auxiliary output of torch.func.grad by the table."""

    def loss(one: Tensor) -> tuple[Tensor, Tensor]:
        value = function(one, *given)
        return value.sum(), value

    return torch.func.grad(loss, has_aux=True)(table)[1]  # type: ignore[no-any-return]


@build_mode("checkpoint", recalled, calls=BOTH, cannot=_NO_FUNC | {"limited": "computing again rescales again"})
def checkpointed(call: Call) -> Call:
    """torch.utils.checkpoint, use_reentrant=False."""
    return lambda *given: torch.utils.checkpoint.checkpoint(call, *given, use_reentrant=False)


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
