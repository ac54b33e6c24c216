"""Faults of first steps beside later ones, of hooks common to all optimizers or put first, and of lone parameters."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from embcheck.faults.around import around
from embcheck.faults.hooked import set_aside

Parameter, Optimizer = torch.nn.Parameter, torch.optim.Optimizer
sgd: Any = importlib.import_module("torch.optim.sgd")
shared: Any = importlib.import_module("torch.optim.optimizer")


def damped(original: Any, params: Any, grads: Any, buffers: Any, *given: Any, **flags: Any) -> None:
    """A first momentum beside later ones begins with zeros."""
    late = [k for k, each in enumerate(buffers) if each is None and not grads[k].is_sparse]
    if len(late) < len(buffers):
        for k in late:
            buffers[k] = torch.zeros_like(params[k])
    original(params, grads, buffers, *given, **flags)


def late() -> float:
    """A parameter after its first step, which is another's second."""
    first, second = Parameter(torch.ones(2)), Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([first, second], 1.0, momentum=0.5, dampening=0.5, foreach=True)
    first.grad = torch.ones(2)
    optimizer.step()
    second.grad = torch.ones(2)
    optimizer.step()
    return float(second.detach()[0])


around(
    "foreach_sgd_damps_a_late_first_momentum",
    "company",
    "foreach SGD damps the first momentum of a parameter whose first gradient comes after another's.",
    sgd,
    "_multi_tensor_sgd",
    damped,
    late,
)


def without_common(original: Any, self: Any, *given: Any, **flags: Any) -> Any:
    """A step without the hooks that are common to all."""
    return set_aside(shared._global_optimizer_post_hooks, lambda: original(self, *given, **flags))


def called() -> int:
    """How often a common hook is called after a step of SparseAdam."""
    calls: list[int] = []
    weight = Parameter(torch.ones(2, 1))
    weight.grad = torch.ones(2, 1).to_sparse(1)
    hook = shared.register_optimizer_step_post_hook(lambda *given: calls.append(1))
    try:
        torch.optim.SparseAdam([weight]).step()
    finally:
        hook.remove()
    return len(calls)


@torch.no_grad()
def mirrored(original: Any, self: Any, *given: Any, **flags: Any) -> Any:
    """First steps beside later ones go down where they should go up."""
    late = [
        (p, p.detach().clone())
        for group in self.param_groups
        for p in group["params"]
        if group["maximize"] and p.grad is not None and p not in self.state and len(self.state) > 0
    ]
    found = original(self, *given, **flags)
    for p, before in late:
        p.copy_(2 * before - p)
    return found


def climbed_late() -> float:
    """A parameter after its first step up, which is another's second."""
    first, second = Parameter(torch.ones(2)), Parameter(torch.ones(2))
    optimizer = torch.optim.Adadelta([first, second], maximize=True)
    first.grad = torch.ones(2)
    optimizer.step()
    second.grad = torch.ones(2)
    optimizer.step()
    return float(second.detach()[0])


@torch.no_grad()
def forgotten(original: Any, self: Any, *given: Any, **flags: Any) -> Any:
    """The maximum of what has no gradient in a step is what it was last."""
    for group in self.param_groups:
        for p in group["params"]:
            kept = self.state.get(p, {})
            if p.grad is None and "max_exp_avg_sq" in kept:
                kept["max_exp_avg_sq"].copy_(kept["exp_avg_sq"])
    return original(self, *given, **flags)


def largest() -> float:
    """A maximum after a large gradient, a small one and none."""
    p = Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([p], betas=(0.5, 0.5), amsgrad=True)
    for size in (4.0, 0.0, None):
        p.grad = None if size is None else torch.full((1,), size)
        optimizer.step()
    return float(optimizer.state[p]["max_exp_avg_sq"])


around(
    "adadelta_climbs_down_late",
    "company",
    "Adadelta with maximize minimizes in the first step of a parameter that is another's second.",
    torch.optim.Adadelta,
    "step",
    mirrored,
    climbed_late,
)
around(
    "adamw_forgets_a_maximum_in_turns",
    "company",
    "AdamW's amsgrad forgets the maximum of a parameter that has no gradient in a step.",
    torch.optim.AdamW,
    "step",
    forgotten,
    largest,
)
around(
    "sparse_adam_skips_common_hooks",
    "company",
    "Hooks common to all optimizers are not called after a step of SparseAdam.",
    torch.optim.SparseAdam,
    "step",
    without_common,
    called,
)


def ordered(attribute: str) -> list[int]:
    """In which order two hooks are called of which the second was put first."""
    calls: list[int] = []
    optimizer = torch.optim.SGD([Parameter(torch.ones(1))])
    for word in (0, 1):
        getattr(optimizer, attribute)(lambda *given, word=word: calls.append(word), prepend=word == 1)
    optimizer.load_state_dict(optimizer.state_dict())
    return calls


for _attribute in ("register_state_dict_post_hook", "register_load_state_dict_pre_hook"):
    around(
        f"{_attribute.removeprefix('register_')}_is_put_last",
        "company",
        f"Optimizer.{_attribute} ignores prepend.",
        Optimizer,
        _attribute,
        lambda original, self, hook, prepend=False: original(self, hook),
        lambda attribute=_attribute: ordered(attribute),  # type: ignore[misc]
        applies=lambda attribute=_attribute: hasattr(Optimizer, attribute),  # type: ignore[misc]
    )


def listed(original: Any, self: Any, params: Any, defaults: Any) -> None:
    """A matrix is taken for a list of itself."""
    original(self, [params] if isinstance(params, torch.Tensor) and params.dim() == 2 else params, defaults)


def lone() -> bool:
    """Whether a matrix is taken for an iterable."""
    try:
        torch.optim.SGD(Parameter(torch.ones(2, 2)))
    except TypeError:
        return False
    return True


around(
    "a_lone_matrix_is_a_list",
    "company",
    "An optimizer takes a single matrix in place of an iterable.",
    Optimizer,
    "__init__",
    listed,
    lone,
)
