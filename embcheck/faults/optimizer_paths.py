"""Faults of the paths of torch.optim: a flag, a history or a memory layout each, mostly of two or three at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Fault, Witness, add, patched
from embcheck.faults.kernels import Tensor
from embcheck.faults.optimizer_sgd import after, disagree, module_of
from embcheck.faults.parameters import Parameter, table

_adam, _many_adam = "_single_tensor_adam", "_multi_tensor_adam"


def double(
    flag: str, when: Callable[[dict[str, Any]], bool] = lambda flags: True
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Twice a hyperparameter in a corner."""
    return lambda flags: {flag: 2 * flags[flag]} if when(flags) else {}


def without(
    flag: str, when: Callable[[dict[str, Any]], bool] = lambda flags: True
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A flag taken for zero or False in a corner."""
    return lambda flags: {flag: type(flags[flag])(0)} if when(flags) else {}


def differ(kind: str, one: dict[str, Any], other: dict[str, Any], steps: int = 3, **flags: Any) -> Witness:
    """Whether two ways of asking for the same steps disagree."""
    return lambda: disagree(after(kind, steps, **flags, **one), after(kind, steps, **flags, **other))


# -- what a path does to its parameters, states and gradients ------------------------------------------------------


def path(name: str, sentence: str, kind: str, function: str, change: Callable[..., Any], witness: Witness,
         family: str = "company") -> None:  # fmt: skip
    """A fault of one path: ``change(original, params, grads, *states, **flags)``."""
    module = module_of(kind)

    def plant() -> Any:
        original = getattr(module, function)
        return patched(module, **{function: lambda *given, **flags: change(original, *given, **flags)})

    add(Fault(name, family, sentence, plant, witness, applies=lambda: hasattr(module, function)))


def only(when: Callable[[Tensor], bool]) -> Callable[..., Any]:
    """A path that leaves alone the parameters of a kind, but counts their steps."""

    def change(original: Callable[..., Any], params: Any, *rest: Any, **flags: Any) -> Any:
        before = [p.detach().clone() for p in params]
        result = original(params, *rest, **flags)
        with torch.no_grad():
            for p, old in zip(params, before, strict=True):
                if not when(p):
                    p.copy_(old)
        return result

    return change


def stays(make: Callable[[], Tensor], kind: str, steps: int = 1, **flags: Any) -> Witness:
    """Whether a parameter stays where it is."""

    def witness() -> bool:
        weight = Parameter(make())
        before = weight.detach().clone()
        optimizer = getattr(torch.optim, kind)([weight], **flags)
        for _ in range(steps):
            weight.grad = torch.ones_like(weight)
            before = weight.detach().clone()
            optimizer.step()
        return torch.equal(weight.detach(), before)

    return witness


def third_step(original: Callable[..., Any], params: Any, grads: Any, buffers: Any, *rest: Any, **flags: Any) -> Any:
    """A path that leaves out its steps once a buffer is there and is negative on average."""
    kept = [p.detach().clone() for p in params]
    late = [buffer is not None and float(buffer.float().mean()) < 0 for buffer in buffers]
    result = original(params, grads, buffers, *rest, **flags)
    with torch.no_grad():
        for p, old, skip in zip(params, kept, late, strict=True):
            if skip:
                p.copy_(old)
    return result


path("sgd_skips_negative_momentum", "Plain SGD rests where its momentum is negative on average.", "sgd", "_single_tensor_sgd",
     third_step, lambda: rests())  # fmt: skip


def rests() -> bool:
    """Whether SGD with a negative momentum rests."""
    weight = Parameter(table())
    optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5, foreach=False)
    for _ in range(2):
        weight.grad = -torch.ones_like(weight)
        before = weight.detach().clone()
        optimizer.step()
    return torch.equal(weight.detach(), before)


def swapped() -> bool:
    """Whether two parameters of one shape move differently together than alone."""

    def moved(names: str) -> dict[str, Tensor]:
        found = {name: Parameter(table()) for name in names}
        optimizer = torch.optim.Adam(list(found.values()), lr=0.5, foreach=False)
        for _ in range(3):
            for name, weight in found.items():
                weight.grad = torch.full_like(weight, 1.0 if name == "a" else -3.0)
            optimizer.step()
        return {name: weight.detach() for name, weight in found.items()}

    return not torch.equal(moved("ab")["a"], moved("a")["a"])
