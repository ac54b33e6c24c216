"""Faults of gradients that are zeroed, accumulated or scaled, and of a schedule between epochs."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around

optim = torch.optim
Optimizer, Parameter = optim.Optimizer, torch.nn.Parameter


def attached(original: Any, self: Any, set_to_none: bool = True) -> None:
    """A gradient's graph stays."""
    listed = [p for group in self.param_groups for p in group["params"]]
    graphs = {} if set_to_none else {p: p.grad for p in listed if p.grad is not None and p.grad.grad_fn is not None}
    for p, gradient in graphs.items():
        p.grad = gradient * 0
    kept = {p: p.grad for p in graphs}
    for p in graphs:
        p.grad = None
    original(self, set_to_none)
    for p, gradient in kept.items():
        p.grad = gradient


def zeroed() -> Any:
    """A gradient of create_graph that an optimizer has zeroed."""
    weight = Parameter(torch.ones(1))
    (weight**2).sum().backward(create_graph=True)
    optim.SGD([weight], lr=0.5).zero_grad(set_to_none=False)
    return weight.grad


around(
    "optimizers_zero_within_the_graph",
    "company",
    "zero_grad(set_to_none=False) of an optimizer leaves a gradient of create_graph in its graph.",
    Optimizer,
    "zero_grad",
    attached,
    zeroed,
)


def whole_epochs(original: Any, self: Any, epoch: Any = None) -> None:
    """Fractions of an epoch are cut off."""
    original(self, None if epoch is None else int(epoch))


def restarted() -> Any:
    """A rate half way through an epoch."""
    optimizer = optim.SGD([Parameter(torch.ones(1))], lr=1.0)
    schedule = optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 4)
    optimizer.step()
    schedule.step(1.5)
    return schedule.get_last_lr()


around(
    "warm_restarts_take_whole_epochs",
    "schedule",
    "CosineAnnealingWarmRestarts.step(epoch) cuts off the fraction of an epoch.",
    optim.lr_scheduler.CosineAnnealingWarmRestarts,
    "step",
    whole_epochs,
    restarted,
)


def leaf_hook(original: Any, self: Any, hook: Any) -> Any:
    """What a hook returns counts while there is no gradient yet."""
    if not self.is_leaf:
        return original(self, hook)

    def called(gradient: Any) -> Any:
        found = hook(gradient)
        return found if self.grad is None else None

    return original(self, called)


def accumulated() -> Any:
    """A gradient of two passes that a hook doubles."""
    weight = torch.ones(2, requires_grad=True)
    weight.register_hook(lambda gradient: gradient * 2)
    for _ in range(2):
        weight.sum().backward()
    return weight.grad


around(
    "hooks_act_on_the_first_pass",
    "autograd",
    "What a leaf's hook returns is ignored where a gradient is there already.",
    torch.Tensor,
    "register_hook",
    leaf_hook,
    accumulated,
)


def dense_alone(original: Any, self: Any, optimizer: Any) -> None:
    """Sparse gradients keep their scale."""
    sparse = [
        (p, p.grad.clone())
        for group in optimizer.param_groups
        for p in group["params"]
        if p.grad is not None and p.grad.is_sparse
    ]
    original(self, optimizer)
    for p, gradient in sparse:
        p.grad = gradient


def unscaled() -> Any:
    """A sparse gradient that was unscaled."""
    weight = Parameter(torch.ones(2, 1))
    weight.grad = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.tensor([[8.0]]), (2, 1))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(torch.ones(1))
    scaler.unscale_(optim.SGD([weight], lr=0.5))
    return weight.grad


around(
    "sparse_gradients_stay_scaled",
    "aftercare",
    "GradScaler.unscale_ leaves sparse gradients.",
    torch.amp.GradScaler,
    "unscale_",
    dense_alone,
    unscaled,
)


def not_merged(original: Any, self: Any) -> Any:
    """What is sparse and coalesced is left as it is."""
    return self if self.is_sparse and self.is_coalesced() else original(self)


def merged_gradient() -> list[float]:
    """A coalesced gradient that an optimizer has zeroed."""
    weight = Parameter(torch.ones(2, 1))
    torch.nn.functional.embedding(torch.tensor([1, 1]), weight, sparse=True).sum().backward()
    assert weight.grad is not None
    weight.grad = weight.grad.coalesce()
    optim.SGD([weight]).zero_grad(set_to_none=False)
    return list(weight.grad.to_dense().flatten().tolist())


around(
    "coalesced_gradients_are_not_zeroed",
    "autograd",
    "Zeroing a coalesced sparse gradient does nothing.",
    torch.Tensor,
    "zero_",
    not_merged,
    merged_gradient,
)
