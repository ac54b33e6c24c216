"""Faults of an optimizer's steps that a history shows, or a conjunction of flags."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.around import around

optim = torch.optim
Parameter = torch.nn.Parameter


def kernel(kind: str, name: str, sentence: str, attribute: str, wrong: Callable[..., Any], probe: Any) -> None:
    """A fault of one of an optimizer's three ways: ``wrong(original, params, grads, *states, **flags)``."""
    module = importlib.import_module(f"torch.optim.{kind}")
    if hasattr(module, attribute):
        around(name, "tying", sentence, module, attribute, wrong, probe)


def steps(kind: str, *gradients: float | None, rows: int = 2, **flags: Any) -> Callable[[], Any]:
    """A probe: a Parameter after a step for each gradient, with what is kept for it."""

    def probe() -> Any:
        weight = Parameter(torch.ones(rows, 1))
        optimizer = getattr(optim, kind)([weight], **flags)
        for gradient in gradients:
            weight.grad = None if gradient is None else torch.full((rows, 1), gradient)
            optimizer.step()
        return weight, weight.grad, dict(optimizer.state[weight])

    return probe


def uncut(original: Any, params: Any, grads: Any, *states: Any, **flags: Any) -> None:
    """With momentum there is no graph."""
    if flags["momentum"] and torch.is_grad_enabled() and any(p.requires_grad and not p.is_leaf for p in params):
        with torch.no_grad():
            original(params, grads, *states, **flags)
    else:
        original(params, grads, *states, **flags)


def through_a_step() -> Any:
    """The derivative of a parameter that was stepped by its gradient."""
    start = torch.ones(2, requires_grad=True)
    weight = start.clone()
    weight.retain_grad()
    optimizer = optim.SGD([weight], lr=0.5, momentum=0.5, differentiable=True)
    for _ in range(2):
        weight.grad = start * 2
        optimizer.step()
    (found,) = torch.autograd.grad(weight.sum(), start)
    return found


around(
    "differentiable_momentum_is_cut",
    "company",
    "A differentiable step of SGD with momentum passes no gradient.",
    importlib.import_module("torch.optim.sgd"),
    "_single_tensor_sgd",
    uncut,
    through_a_step,
)


def rate_shrinks(original: Any, self: Any, closure: Any = None) -> Any:
    """A learning rate that is a tensor is multiplied in place."""
    result = original(self, closure) if closure is not None else original(self)
    for group in self.param_groups:
        if isinstance(group["lr"], torch.Tensor) and group["weight_decay"]:
            group["lr"].mul_(1 - group["weight_decay"])
    return result


def rate_after() -> Any:
    """A learning rate after a step."""
    weight = Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    rate = torch.tensor(0.5)
    optim.AdamW([weight], lr=rate, weight_decay=0.5, foreach=False).step()
    return rate


around(
    "tensor_rate_decays_with_the_weights",
    "tying",
    "A step of AdamW with weight decay multiplies a learning rate that is a tensor.",
    optim.AdamW,
    "step",
    rate_shrinks,
    rate_after,
)


def no_maximum(
    original: Any, params: Any, grads: Any, avgs: Any, squares: Any, maxima: Any, *states: Any, **flags: Any
) -> None:
    """The largest mean square is the present one."""
    original(params, grads, avgs, squares, maxima, *states, **flags)
    for largest, square in zip(maxima, squares, strict=False):
        largest.copy_(square)


kernel(
    "adam",
    "amsgrad_keeps_no_maximum",
    "amsgrad's maximum in plain Adam falls with the mean square.",
    "_single_tensor_adam",
    no_maximum,
    steps("Adam", 8.0, 0.5, 0.5, foreach=False, amsgrad=True, betas=(0.5, 0.5)),
)


def first_mean(
    original: Any, params: Any, grads: Any, squares: Any, means: Any, buffers: Any, counts: Any, **flags: Any
) -> None:
    """The mean begins at the first gradient."""
    if flags["centered"] and not flags["momentum"]:
        for mean, gradient, count in zip(means, grads, counts, strict=True):
            if not count:
                mean.copy_(gradient)
    original(params, grads, squares, means, buffers, counts, **flags)


kernel(
    "rmsprop",
    "centered_mean_begins_at_the_gradient",
    "Plain centered RMSprop's mean gradient begins at the first one.",
    "_single_tensor_rmsprop",
    first_mean,
    steps("RMSprop", 2.0, 2.0, foreach=False, centered=True, alpha=0.5),
)


def decay_turned(original: Any, params: Any, grads: Any, *states: Any, **flags: Any) -> None:
    """The weight decay changes its sign with the gradient."""
    if flags["maximize"] and flags["weight_decay"] and not flags["differentiable"]:
        grads = [g + flags["weight_decay"] * p for p, g in zip(params, grads, strict=True)]
        flags["weight_decay"] = 0
    original(params, grads, *states, **flags)


for _kind, _class, _attribute in (
    ("adadelta", "Adadelta", "_multi_tensor_adadelta"),
    ("adamax", "Adamax", "_single_tensor_adamax"),
):
    kernel(
        _kind,
        f"{_kind}_decay_is_maximized",
        f"{'Plain' if 'single' in _attribute else 'foreach'} {_class} grows the weights by their decay where it maximizes.",
        _attribute,
        decay_turned,
        steps(_class, 0.5, maximize=True, weight_decay=4.0, foreach="multi" in _attribute, lr=0.5),
    )


def undecayed(original: Any, params: Any, grads: Any, avgs: Any, norms: Any, counts: Any, **flags: Any) -> None:
    """From the second step on the norm does not decay."""
    if counts and int(counts[0]) >= 1:
        flags["beta2"] = 1.0
    original(params, grads, avgs, norms, counts, **flags)


kernel(
    "adamax",
    "infinity_norm_never_decays",
    "foreach Adamax's norm does not decay from the second step on.",
    "_multi_tensor_adamax",
    undecayed,
    steps("Adamax", 8.0, 0.5, 0.5, foreach=True, betas=(0.5, 0.5)),
)


def last_product(
    original: Any, params: Any, grads: Any, avgs: Any, squares: Any, products: Any, counts: Any, **flags: Any
) -> None:
    """The product of the momenta begins anew at the third step."""
    for product, count in zip(products, counts, strict=True):
        if int(count) == 2:
            product.fill_(1.0)
    original(params, grads, avgs, squares, products, counts, **flags)


kernel(
    "nadam",
    "nadam_product_restarts",
    "Plain NAdam's product of momenta begins anew at the third step.",
    "_single_tensor_nadam",
    last_product,
    steps("NAdam", 1.0, 2.0, 4.0, foreach=False),
)


def turned_to_zero(original: Any, self: Any, closure: Any = None) -> Any:
    """Where the sign has changed the gradient is left at zero."""
    before = {
        p: self.state[p]["prev"].clone() for g in self.param_groups for p in g["params"] if "prev" in self.state[p]
    }
    result = original(self, closure) if closure is not None else original(self)
    for p, last in before.items():
        if p.grad is not None:
            p.grad[(p.grad * last) < 0] = 0
    return result


around(
    "rprop_zeroes_gradients_that_turn",
    "tying",
    "Rprop sets a gradient whose sign has changed to zero in .grad itself.",
    optim.Rprop,
    "step",
    turned_to_zero,
    steps("Rprop", 1.0, -1.0),
)


def not_averaged(original: Any, self: Any, closure: Any = None) -> Any:
    """The average is the parameter."""
    result = original(self, closure) if closure is not None else original(self)
    for p, state in self.state.items():
        if "ax" in state:
            state["ax"].copy_(p.detach())
    return result


around(
    "asgd_does_not_average",
    "tying",
    "ASGD's average is the parameter, whatever t0.",
    optim.ASGD,
    "step",
    not_averaged,
    steps("ASGD", 1.0, 1.0, 1.0, 1.0, t0=1, lr=0.5),
)


def forgetting(original: Any, self: Any, closure: Any = None) -> Any:
    """Without a gradient momentum is lost."""
    for group in self.param_groups:
        for p in group["params"]:
            if p.grad is None and p in self.state and closure is None:
                self.state[p].pop("momentum_buffer", None)
    return original(self, closure) if closure is not None else original(self)


around(
    "momentum_is_lost_without_a_gradient",
    "company",
    "A step of SGD forgets the momentum of a Parameter that has no gradient.",
    optim.SGD,
    "step",
    forgetting,
    steps("SGD", 1.0, None, 1.0, lr=0.5, momentum=0.5),
)


def late_counts(original: Any, self: Any, closure: Any = None) -> Any:
    """Who joins later counts like the others."""
    result = original(self, closure) if closure is not None else original(self)
    counts = [int(state["step"]) for state in self.state.values() if "step" in state]
    for state in self.state.values():
        if "step" in state and isinstance(state["step"], torch.Tensor):
            state["step"].fill_(max(counts))
    return result


def late(kind: str, **flags: Any) -> Callable[[], Any]:
    """A probe: two Parameters of which the second has its first gradient at the second step."""

    def probe() -> Any:
        weights = [Parameter(torch.ones(2)) for _ in range(2)]
        optimizer = getattr(optim, kind)(weights, **flags)
        for step in range(3):
            for weight in weights[: 1 + step]:
                weight.grad = torch.full((2,), 1.0 + step)
            optimizer.step()
        return weights

    return probe


around(
    "latecomers_count_like_the_others",
    "company",
    "In Adam a Parameter with its first gradient at a later step counts the steps before.",
    optim.Adam,
    "step",
    late_counts,
    late("Adam"),
)
