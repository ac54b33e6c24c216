"""Faults of the hooks of leaves, values and layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.driven import leaf, lookup
from embcheck.faults.entry import Embedding, Wrong, entry
from embcheck.faults.kernels import Tensor


def twice(original: Wrong) -> Wrong:
    """A registration that registers twice."""
    return lambda self, hook, *rest, **more: (original(self, hook, *rest, **more), original(self, hook, *rest, **more))[
        1
    ]


def post_hook_calls() -> int:
    """How often a post-accumulate hook fires."""
    weight, seen = leaf(), []
    weight.register_post_accumulate_grad_hook(lambda table: seen.append(1))
    lookup(weight).sum().backward()
    return len(seen)


def layer_calls(register: str, hook: Callable[..., Any]) -> None:
    """Runs a layer forward and backward with a hook of one kind."""
    layer = Embedding(3, 2)
    getattr(layer, register)(hook)
    layer(torch.tensor([0, 1])).sum().backward()


def calls_of(register: str) -> int:
    """How often a layer's hook fires."""
    seen: list[int] = []
    layer_calls(register, lambda *given: seen.append(1))
    return len(seen)


entry(
    "post_accumulate_fires_twice",
    "autograd",
    "A post-accumulate-grad hook is registered twice.",
    Tensor,
    "register_post_accumulate_grad_hook",
    twice,
    lambda: post_hook_calls() != 1,
)


def _fires_twice(register: str) -> None:
    name = register.removeprefix("register_")
    entry(f"{name}_fires_twice", "autograd", f"A {name} is registered twice.", torch.nn.Module, register, twice,
          lambda: calls_of(register) != 1)  # fmt: skip


for _register in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_pre_hook"):
    _fires_twice(_register)


def _silenced(original: Wrong) -> Wrong:
    return lambda self, hook, *rest, **more: original(self, lambda *given: (hook(*given), None)[1], *rest, **more)


def doubled_value() -> float:
    """The first number of a layer whose forward hook doubles."""
    layer = Embedding.from_pretrained(torch.ones(2, 1))
    layer.register_forward_hook(lambda layer, args, value: value * 2)
    return float(layer(torch.tensor(0)))


entry(
    "forward_hook_result_ignored",
    "autograd",
    "What a forward hook returns is ignored.",
    torch.nn.Module,
    "register_forward_hook",
    _silenced,
    lambda: doubled_value() != 2.0,
)


def _doubling_hook(original: Wrong) -> Wrong:
    def register(self: Any, hook: Any, *rest: Any, **more: Any) -> Any:
        return original(self, lambda layer, to, given: hook(layer, to, tuple(x * 2 for x in given)), *rest, **more)

    return register


def backward_hook_sees() -> float:
    """What a full backward hook is shown."""
    seen: list[float] = []
    layer_calls("register_full_backward_hook", lambda layer, to, given: seen.append(float(given[0][0, 0])))
    return seen[0]


entry(
    "full_backward_hook_sees_double",
    "autograd",
    "A full backward hook is shown twice the upstream gradient.",
    torch.nn.Module,
    "register_full_backward_hook",
    _doubling_hook,
    lambda: backward_hook_sees() != 1.0,
)


def _without_rank_2(original: Wrong) -> Wrong:
    return lambda self: None if self.dim() == 3 else original(self)


def retained() -> bool:
    """Whether a lookup of rank 2 retains its gradient."""
    value = lookup(leaf(), [[0, 1]])
    value.retain_grad()
    value.sum().backward()
    return value.retains_grad


entry(
    "retain_grad_of_rank_2",
    "autograd",
    "retain_grad does nothing for a lookup of rank 2.",
    Tensor,
    "retain_grad",
    _without_rank_2,
    lambda: not retained(),
)
