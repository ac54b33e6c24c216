"""Faults of optimizers in company: several groups, dtypes and parameters, frozen and sparse ones among them."""

from __future__ import annotations

import importlib
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch

from embcheck.faults.entry import Wrong, entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.optimizer_groups import skip_sparse

Optimizer = torch.optim.Optimizer
clipping = importlib.import_module("torch.nn.utils.clip_grad")
swa = torch.optim.swa_utils


def apart(one: Tensor, other: Tensor) -> bool:
    """Whether two results differ by more than another order of evaluation explains."""
    return bool((one - other).abs().max() > 2.0**-6)


def part(name: str) -> Any:
    """A module of torch.optim, of which the package may have a function of the same name."""
    return importlib.import_module(f"torch.optim.{name}")


def _first_only(original: Wrong) -> Wrong:
    def replaced(params: Any, grads: Any, a: Any, b: Any, top: Any, steps: Any, *rest: Any, **flags: Any) -> Any:
        if not (flags["amsgrad"] and flags["weight_decay"] != 0 and len(params) > 1):
            return original(params, grads, a, b, top, steps, *rest, **flags)
        original(params[:1], grads[:1], a[:1], b[:1], top[:1], steps[:1], *rest, **flags)
        flags["amsgrad"] = False
        return original(params[1:], grads[1:], a[1:], b[1:], [], steps[1:], *rest, **flags)

    return replaced


def _shrinking(count: int, **flags: Any) -> Tensor:
    params = [torch.nn.Parameter(torch.ones(3)) for _ in range(count)]
    optimizer = torch.optim.Adam(params, lr=0.5, betas=(0.5, 0.5), amsgrad=True, weight_decay=0.01, **flags)
    for scale in (4.0, 0.1, 0.1):
        for param in params:
            param.grad = torch.full((3,), scale)
        optimizer.step()
    return torch.cat([param.detach().reshape(-1) for param in params])


entry(
    "foreach_amsgrad_of_the_first_parameter_alone",
    "company",
    "Adam with foreach, amsgrad and weight decay keeps the maximum of the first parameter alone.",
    part("adam"),
    "_multi_tensor_adam",
    _first_only,
    lambda: apart(_shrinking(2, foreach=True), _shrinking(2, foreach=False)),
)


def _half(original: Wrong) -> Wrong:
    def replaced(params: Any, grads: Any, *state: Any, **flags: Any) -> Any:
        if flags["centered"] and flags["maximize"]:
            flags["momentum"] /= 2
        return original(params, grads, *state, **flags)

    return replaced


def _centered(foreach: bool) -> Tensor:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.RMSprop([weight], 0.5, momentum=0.5, centered=True, maximize=True, foreach=foreach)
    for _ in range(2):
        weight.grad = torch.ones(3)
        optimizer.step()
    return weight.detach()


entry(
    "foreach_centered_rmsprop_climbs_with_half_the_momentum",
    "company",
    "RMSprop with foreach, centered, maximize and momentum takes half the momentum.",
    part("rmsprop"),
    "_multi_tensor_rmsprop",
    _half,
    lambda: apart(_centered(True), _centered(False)),
)


def _still_rows(original: Wrong) -> Wrong:
    def replaced(params: Any, grads: Any, *state: Any, **flags: Any) -> Any:
        held = []
        if flags["nesterov"] and flags["weight_decay"] == 0:
            for param, grad in zip(params, grads, strict=True):
                if grad.dim() == 2 and not grad.is_sparse:
                    rows = (grad == 0).all(1)
                    held.append((param, rows, param[rows].clone()))
        original(params, grads, *state, **flags)
        for param, rows, before in held:
            param[rows] = before

    return replaced


def _coasts() -> bool:
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.5, nesterov=True)
    for grad in (torch.ones(2, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0]])):
        weight.grad = grad
        optimizer.step()
    return bool(weight[0, 0] == -1.5)


entry(
    "nesterov_holds_rows_without_gradient",
    "tying",
    "SGD with nesterov leaves rows whose gradient is zero where they are, momentum or not.",
    part("sgd"),
    "_single_tensor_sgd",
    _still_rows,
    _coasts,
)


def _vectors(original: Wrong) -> Wrong:
    def replaced(params: Any, grads: Any, *state: Any, **flags: Any) -> Any:
        for k, param in enumerate(params):
            own = [part if part is None else part[k : k + 1] for part in state]
            changed = flags | {"maximize": False} if param.dim() == 1 else flags
            original(params[k : k + 1], grads[k : k + 1], *own, **changed)

    return replaced


def _adafactor(foreach: bool) -> Tensor:
    bias = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adafactor([bias], lr=0.1, maximize=True, foreach=foreach)
    bias.grad = torch.ones(3)
    optimizer.step()
    return bias.detach()


entry(
    "adafactor_descends_with_a_bias",
    "tying",
    "Adafactor with maximize descends for parameters of one axis.",
    part("_adafactor"),
    "_single_tensor_adafactor",
    _vectors,
    lambda: apart(_adafactor(True), _adafactor(False)),
)


def _current(original: Wrong) -> Wrong:
    def replaced(self: Any, group: Any) -> Any:
        if self.param_groups and self.state and isinstance(group, dict):
            first = self.param_groups[0]
            for name in self.defaults:
                group.setdefault(name, first[name])
        return original(self, group)

    return replaced


def _late_group() -> bool:
    one, two = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([{"params": [one], "weight_decay": 0.5}], lr=1.0)
    one.grad = torch.ones(2)
    optimizer.step()
    optimizer.state[one]["seen"] = 1
    optimizer.add_param_group({"params": [two]})
    return bool(optimizer.param_groups[1]["weight_decay"] != 0)


entry(
    "late_group_takes_the_first_groups_options",
    "company",
    "A group added after a step takes the options of the first group instead of the defaults.",
    Optimizer,
    "add_param_group",
    _current,
    _late_group,
)


def _sparse_left(original: Wrong) -> Wrong:
    def replaced(self: Any, set_to_none: bool = True) -> None:
        (original if set_to_none else partial(skip_sparse, original))(self, set_to_none)

    return replaced


def _zeroed() -> bool:
    table = torch.nn.Embedding(3, 2, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=1.0)
    table(torch.tensor([1])).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    grad = table.weight.grad
    return grad is not None and bool(grad.to_dense().any())


entry(
    "zeroing_leaves_sparse_gradients",
    "tying",
    "zero_grad(set_to_none=False) of an optimizer leaves sparse gradients as they are.",
    Optimizer,
    "zero_grad",
    _sparse_left,
    _zeroed,
)


def _total(original: Wrong) -> Wrong:
    def replaced(tensors: Any, norm_type: float = 2.0, *args: Any, **flags: Any) -> Any:
        if not isinstance(tensors, torch.Tensor):
            tensors = list(tensors)
            if tensors and float(norm_type) == float("inf"):
                tensors = [t for t in tensors if t.dtype is tensors[0].dtype]
        return original(tensors, norm_type, *args, **flags)

    return replaced


def _inf_norm() -> bool:
    one, two = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    one.grad, two.grad = torch.ones(2), torch.full((2,), 5.0, dtype=torch.float64)
    return bool(torch.nn.utils.clip_grad_norm_([one, two], 1.0, norm_type=float("inf")) == 1)


entry(
    "clipping_by_the_largest_value_of_the_first_dtype",
    "aftercare",
    "clip_grad_norm_ with the infinity norm sees the gradients of the first dtype alone.",
    clipping,
    "_get_total_norm",
    _total,
    _inf_norm,
)


def _twice(original: Wrong) -> Wrong:
    def replaced(self: Any, optimizer: Any, inv_scale: Tensor, found: Tensor, allow: bool) -> Any:
        result = original(self, optimizer, inv_scale, found, allow)
        for group in optimizer.param_groups[1:]:
            for p in group["params"]:
                if p.grad is not None and p.grad.is_sparse:
                    p.grad._values().mul_(inv_scale.to(p.grad.dtype))
        return result

    return replaced


def _scaled(sparse: bool, bad: bool) -> tuple[Tensor, bool]:
    one, two = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2, 2))
    optimizer = torch.optim.SGD([{"params": [one]}, {"params": [two]}], lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(torch.ones(1))
    one.grad = torch.ones(2)
    two.grad = torch.full((2, 2), float("inf") if bad else 4.0)
    if sparse:
        two.grad = two.grad.to_sparse(1)
    scaler.unscale_(optimizer)
    grad = two.grad.to_dense()
    scaler.step(optimizer)
    return grad, bool(one[0] == 1)


entry(
    "scaler_unscales_sparse_gradients_of_later_groups_twice",
    "aftercare",
    "GradScaler unscales sparse gradients twice unless they are in the first group.",
    torch.amp.GradScaler,
    "_unscale_grads_",
    _twice,
    lambda: bool(_scaled(True, False)[0][0, 0] != 1),
)


def _first_group(original: Wrong) -> Wrong:
    def replaced(self: Any, optimizer: Any, inv_scale: Tensor, found: Tensor, allow: bool) -> Any:
        result = None
        for group in optimizer.param_groups:
            seen = original(self, SimpleNamespace(param_groups=[group]), inv_scale, found.clone(), allow)
            result = seen if result is None or not result else result
        return result

    return replaced


entry(
    "scaler_looks_for_infinities_in_the_first_group",
    "aftercare",
    "GradScaler steps although a gradient of a later group is infinite.",
    torch.amp.GradScaler,
    "_unscale_grads_",
    _first_group,
    lambda: not _scaled(False, True)[1],
)


def _frozen_average(original: Wrong) -> Wrong:
    def replaced(self: Any, model: Any) -> Any:
        first = bool(self.n_averaged == 0)
        frozen = [(p, p.detach().clone()) for p in self.module.parameters() if not p.requires_grad]
        original(self, model)
        if first:
            with torch.no_grad():
                for p, before in frozen:
                    p.copy_(before)

    return replaced


def _first_average() -> bool:
    model = torch.nn.Embedding(2, 2).requires_grad_(False)
    average = swa.AveragedModel(model)
    torch.nn.init.constant_(model.weight, 4.0)
    average.update_parameters(model)
    return not torch.equal(average.module.get_parameter("weight"), torch.full((2, 2), 4.0))


entry(
    "first_average_skips_frozen_weights",
    "aftercare",
    "The first update of an AveragedModel does not copy frozen parameters.",
    swa.AveragedModel,
    "update_parameters",
    _frozen_average,
    _first_average,
)
