"""Programs: what is executed for a lookup.

A *history* is what happened before the call that is judged; a *route* is how the derivative is taken.  Each route
returns the observations that the laws of the gradient speak of.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.core.registry import by_name

Tensor = torch.Tensor
Call = Callable[..., Tensor]
Rebuild = Callable[[Tensor], Call]
#: It may return what tells, after the call that is judged, whether what it holds stayed as it was.
History = Callable[..., "Callable[[], bool] | None"]
Route = Callable[..., dict[str, Any]]

#: How many times the upstream gradient arrives on each route, where that is not once.
TIMES = dict.fromkeys(("retained", "two_passes", "two_lookups", "two_shapes", "doubled", "hook_doubles"), 2)


def forward(
    build: Callable[..., tuple[Tensor, Call]],
    history: History,
    weight: Tensor,
    indices: Tensor,
    flags: dict[str, Any],
    requires_grad: bool,
) -> dict[str, Any]:
    leaf, call = build(weight, **flags)
    if torch.is_grad_enabled() and not freezes(leaf, flags):
        leaf.requires_grad_(requires_grad)
    held = history(leaf, call, indices)
    inference = leaf.is_inference() or indices.is_inference()
    before = (0, 0) if inference else (leaf._version, indices._version)
    around = surroundings()
    value = call(indices)
    after = (0, 0) if inference else (leaf._version, indices._version)
    return {
        "value": value,
        "versions": before == after,
        "surroundings": changed(around),
        "plain": type(value) is torch.Tensor,
        "held": held is None or held(),
        "separate": value.numel() == 0
        or value.untyped_storage().data_ptr()
        not in (leaf.untyped_storage().data_ptr(), indices.untyped_storage().data_ptr()),
        "shares_table": leaf.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr(),
        "leaf": leaf,
    }


def backward(
    build: Callable[..., tuple[Tensor, Call]],
    history: History,
    route: Route,
    weight: Tensor,
    indices: Tensor,
    upstream: Tensor,
    flags: dict[str, Any],
) -> dict[str, Any]:
    leaf, call = build(weight, **flags)
    if not freezes(leaf, flags):
        leaf.requires_grad_()
    held = history(leaf, call, indices)
    leaf.grad = None
    around = surroundings()
    seen = route(leaf, call, indices, upstream, rebuilding(build, flags))
    return {"leaf": leaf, "surroundings": changed(around), "held": held is None or held(), **seen}


def rebuilding(build: Callable[..., tuple[Tensor, Call]], flags: dict[str, Any]) -> Rebuild:
    """Builds what is called on another table."""

    def rebuild(table: Tensor) -> Call:
        # A layer that is built draws its first weights, which is not the doing of the call.
        drawn = generator().get_state()
        again = build(table, **flags)[1]
        generator().set_state(drawn)
        return again

    return rebuild


def freezes(leaf: Tensor, flags: dict[str, Any]) -> bool:
    """Whether from_pretrained decided what its Parameter requires, which is then left as it is."""
    return "freeze" in flags and isinstance(leaf, torch.nn.Parameter)


#: What is called changed where random numbers were drawn.
GENERATOR = "the state of the random number generator"


def surroundings() -> dict[str, Any]:
    """What a call must leave as it is, by the words in which a law says that it changed."""
    return {
        "the grad mode": torch.is_grad_enabled(),
        "the inference mode": torch.is_inference_mode_enabled(),
        "the default dtype": torch.get_default_dtype(),
        "the number of threads": torch.get_num_threads(),
        "the deterministic mode": torch.are_deterministic_algorithms_enabled(),
        GENERATOR: generator().get_state().numpy().tobytes(),
    }


def changed(around: dict[str, Any]) -> list[str]:
    """What is not as it was in the surroundings, in words."""
    now = surroundings()
    return [] if now == around else [name for name in now if now[name] != around[name]]


def generator() -> torch.Generator:
    """The generator from which tensors are drawn on the default device."""
    on_cuda = torch.cuda.is_initialized() and torch.empty(0).is_cuda
    return torch.cuda.default_generators[torch.cuda.current_device()] if on_cuda else torch.default_generator


def seeded(seed: int) -> None:
    # torch.manual_seed also keeps a traceback for each kind of device that is not in use, which takes a millisecond.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def with_gradient(leaf: Tensor, value: Tensor, upstream: Tensor) -> dict[str, Any]:
    """What was looked up, and the gradient that is there after its backward pass."""
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


# -- routes ------------------------------------------------------------------------------------------------------


def backward_call(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    return with_gradient(leaf, call(indices), upstream)


def autograd_grad(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value = call(indices)
    (grad,) = torch.autograd.grad(value, leaf, upstream)
    own = grad.is_sparse or grad.numel() == 0 or grad.data_ptr() != upstream.data_ptr()
    return {"value": value, "weight_grad": grad, "grad_left_alone": leaf.grad is None, "separate": own}


def retained(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value = call(indices)
    value.backward(upstream, retain_graph=True)
    return with_gradient(leaf, value, upstream)


def two_passes(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    call(indices).backward(upstream)
    return with_gradient(leaf, call(indices), upstream)


def two_lookups(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    first, second = call(indices), call(indices)
    torch.autograd.backward((first, second), (upstream, upstream))
    return {"value": second, "weight_grad": leaf.grad}


def two_shapes(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    first, second = call(indices[None]), call(indices)
    torch.autograd.backward((first, second), (upstream[None], upstream))
    return {"value": second, "weight_grad": leaf.grad}


def lookup_between(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    # With other flags, before the graph of the first is used.
    value = call(indices)
    for flags in ({"padding_idx": 0}, {"scale_grad_by_freq": True}, {"sparse": True}, {"padding_idx": -1}):
        torch.nn.functional.embedding(indices, leaf, **flags)
    torch.nn.functional.embedding(indices.reshape(-1)[:1], leaf)
    return with_gradient(leaf, value, upstream)


def rows_of_a_leaf(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    # The table is all but the first row and the last column of what learns.
    rows, width = leaf.shape
    larger = leaf.new_full((rows + 1, width + 1), float("nan"))
    larger[1:, :width] = leaf.detach()
    value = rebuild(larger.requires_grad_()[1:, :width])(indices)
    value.backward(upstream)
    found = larger.grad
    if found is None or found.shape != larger.shape:
        return {"value": value, "weight_grad": found}
    beside = found[0].abs().sum() + found[:, width:].abs().sum()  # which is zero
    return {"value": value, "weight_grad": found[1:, :width] + beside}


def doubled(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    call(indices).mul_(2).backward(upstream)
    return {"weight_grad": leaf.grad}


def value_hooked(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value = call(indices)
    seen: list[Tensor] = []
    handle = value.register_hook(lambda grad: seen.append(grad.clone()))
    value.backward(upstream)
    handle.remove()
    return {"value": value, "weight_grad": leaf.grad, "hook_calls": len(seen), "hook_grad": seen[0]}


def hooked(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    seen: list[Tensor] = []
    leaf.register_hook(lambda grad: seen.append(grad))
    return {**with_gradient(leaf, call(indices), upstream), "hook_calls": len(seen)}


def hook_doubles(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    leaf.register_hook(lambda grad: grad * 2)
    return with_gradient(leaf, call(indices), upstream)


def create_graph(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value = call(indices)
    (grad,) = torch.autograd.grad(value, leaf, upstream, create_graph=True)
    return {"value": value, "weight_grad": grad}


def double_backward(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    upstream = upstream.detach().clone().requires_grad_()
    probe = leaf.detach().clone()
    value = call(indices)
    (grad,) = torch.autograd.grad(value, leaf, upstream, create_graph=True)
    (grad * probe).sum().backward() if not grad.is_sparse else grad.backward(probe)
    # The same of an upstream gradient that was computed.
    (again,) = torch.autograd.grad(call(indices), leaf, upstream * 1, create_graph=True)
    (computed,) = torch.autograd.grad(again, upstream, probe)
    return {"value": value, "weight_grad": grad, "upstream_grad": upstream.grad, "computed_grad": computed}


def checkpointed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    return with_gradient(leaf, torch.utils.checkpoint.checkpoint(call, indices, use_reentrant=False), upstream)


def anomaly(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        return with_gradient(leaf, call(indices), upstream)


def forward_mode(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    tangent = leaf.detach().clone()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(leaf, tangent)
        value = torch.autograd.forward_ad.unpack_dual(rebuild(dual)(indices))
        # The same of a table that requires no gradient, with a tangent that has other strides.
        other = tangent.T.contiguous().T if leaf.is_contiguous() else tangent.contiguous()
        plain = torch.autograd.forward_ad.make_dual(leaf.detach(), other)
        moved = torch.autograd.forward_ad.unpack_dual(rebuild(plain)(indices)).tangent
        return {"value": value.primal, "tangent": value.tangent, "plain_tangent": moved}


def vjp(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value, pull = torch.func.vjp(lambda table: rebuild(table)(indices), leaf.detach())  # type: ignore[misc]
    (grad,) = pull(upstream)
    return {"value": value, "weight_grad": grad}


def batched(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    return with_gradient(leaf, torch.vmap(call)(indices), upstream)


ROUTES: dict[str, Route] = (
    by_name(backward_call, autograd_grad, retained, two_passes, two_lookups, two_shapes, lookup_between)
    | by_name(rows_of_a_leaf, doubled, value_hooked, hooked, hook_doubles, create_graph, double_backward, checkpointed)
    | by_name(anomaly, forward_mode, vjp, batched)
)
