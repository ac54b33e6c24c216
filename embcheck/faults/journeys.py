"""Faults of copies, files and conversions of modules in conjunctions."""

from __future__ import annotations

import copy
from typing import Any

import torch

from embcheck.faults.around import around, pair

Module, Parameter = torch.nn.Module, torch.nn.Parameter


def hookless(original: Any, self: Any, state: Any) -> None:
    """A copy has no pre-hooks."""
    original(self, state)
    self._forward_pre_hooks = type(self._forward_pre_hooks)()


def hooked_copy() -> int:
    """How often a copy's pre-hook is called."""
    layer, calls = torch.nn.Embedding(2, 1), []
    layer.register_forward_pre_hook(lambda module, args: calls.append(1))
    copy.deepcopy(layer)(torch.tensor([0]))
    return len(calls)


around(
    "copies_lose_forward_pre_hooks",
    "life",
    "A deep copy of a module has none of its forward pre-hooks.",
    Module,
    "__setstate__",
    hookless,
    hooked_copy,
)


def recursing(original: Any, self: Any, *, device: Any, recurse: bool = True) -> Any:
    """The children always go along."""
    return original(self, device=device, recurse=True)


around(
    "to_empty_always_recurses",
    "membership",
    "to_empty(recurse=False) empties the children, too.",
    Module,
    "to_empty",
    recursing,
    lambda: pair().to_empty(device="meta", recurse=False)["head"].weight.device.type,
)


def parameters_alone(original: Any, self: Any, dst_type: Any) -> Any:
    """Buffers keep their type."""
    held = [(module, dict(module._buffers)) for module in self.modules()]
    original(self, dst_type)
    for module, buffers in held:
        module._buffers.update(buffers)
    return self


def typed() -> Any:
    """The dtype of a buffer after type()."""
    module = torch.nn.Embedding(1, 1)
    module.register_buffer("mask", torch.ones(1))
    return module.type(torch.float64).mask.dtype


around(
    "type_leaves_buffers",
    "membership",
    "Module.type() converts the Parameters alone.",
    Module,
    "type",
    parameters_alone,
    typed,
)


def sharing_what_learns(original: Any, self: Any) -> Any:
    """A frozen Parameter stays where it is."""
    return self._apply(lambda t: t if isinstance(t, Parameter) and not t.requires_grad else t.share_memory_())


around(
    "share_memory_skips_frozen",
    "membership",
    "Module.share_memory() leaves frozen Parameters out of shared memory.",
    Module,
    "share_memory",
    sharing_what_learns,
    lambda: torch.nn.Embedding(2, 1).requires_grad_(False).share_memory().weight.is_shared(),
)


def device_alone(original: Any, self: Any, *given: Any, **flags: Any) -> Any:
    """A tensor stands for its device."""
    other = given[0] if given else flags.get("tensor")
    return original(self, other.device) if isinstance(other, torch.Tensor) else original(self, *given, **flags)


around(
    "to_a_tensor_forgets_the_dtype",
    "life",
    "Module.to(tensor) takes the tensor's device, not its dtype.",
    Module,
    "to",
    device_alone,
    lambda: torch.nn.Embedding(1, 1).to(torch.ones(1, dtype=torch.float64)).weight.dtype,
)


def attached(original: Any, self: Any, set_to_none: bool = True) -> None:
    """A gradient that is part of a graph stays part of it."""
    if set_to_none:
        return original(self, set_to_none)  # type: ignore[no-any-return]
    for value in self.parameters():
        if value.grad is not None:
            if value.grad.grad_fn is None:
                value.grad.requires_grad_(False)
                value.grad.zero_()
            else:
                value.grad = value.grad * 0
    return None


def zeroed_graph() -> Any:
    """A gradient with a graph after zero_grad(set_to_none=False)."""
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    (layer.weight**2).sum().backward(create_graph=True)
    layer.zero_grad(set_to_none=False)
    return layer.weight.grad


around(
    "zeroing_keeps_the_gradients_graph",
    "membership",
    "zero_grad(set_to_none=False) leaves a gradient that was made with create_graph in its graph.",
    Module,
    "zero_grad",
    attached,
    zeroed_graph,
)
