"""Programs that train a tied pair.  They import nothing but torch, for their source is what a counterexample shows.

`train` builds a model whose embedding and head share one parameter and takes some steps; `follow` gives an untied
parameter the gradients that are due and takes the same steps.  What differs is the fault of the tie.  What happens
on the way is in `embcheck.families.tied_training.training_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor


def train(
    tie: Callable[..., Any],
    listing: Callable[..., Any],
    backward_pass: Callable[..., Tensor],
    event: Callable[..., Any],
    clip: Callable[..., Any],
    zero: Callable[..., None],
    schedule: Callable[..., Any],
    advance: Callable[..., Any],
    follow: Callable[..., dict[str, Any]],
    report: Callable[..., dict[str, Any]],
    kind: str,
    flags: dict[str, Any],
    tensor_hyperparameters: tuple[str, ...],
    passes: tuple[int, ...],
    uses: tuple[str, ...],
    turns: int,
    closure: bool,
    sparse: bool,
    observed: bool,
    refusals: tuple[str, ...],
    weight: Tensor,
    twin: Tensor,
    indices: Tensor,
    hidden: Tensor,
    below: Tensor,
    above: Tensor,
    summed: Tensor,
    grad: Tensor | None = None,
    bias: Tensor | None = None,
    twin_bias: Tensor | None = None,
    summed_bias: Tensor | None = None,
) -> dict[str, Any]:
    import re

    def build(groups: Any, **changes: Any) -> Any:
        boxes = {
            name: tuple(torch.tensor(beta) for beta in flags[name]) if name == "betas" else torch.tensor(flags[name])
            for name in tensor_hyperparameters
        }
        return getattr(torch.optim, kind)(groups, **{**flags, **boxes, **changes})

    model, table, top = tie(weight, bias, sparse)
    leaf = first = model.get_submodule(table).weight
    leaf.grad = grad
    log: list[dict[str, Any]] = []
    try:
        optimizers = [listing(build, model, table, top) for _ in range(turns)]
        schedulers = [schedule(optimizer) for optimizer in optimizers]
        for k, count in enumerate(passes):
            turn = k % turns
            model, optimizer = event(k, model, optimizers[turn], build, table, indices)
            optimizers[turn] = optimizer
            data = (indices[k], hidden[k], below[k], above[k], uses[k])
            log.append(advance(model, table, top, optimizer, backward_pass, clip, zero, closure, count, data))
            if schedulers[turn] is not None:
                schedulers[turn]()
        leaf, other = model.get_submodule(table).weight, getattr(model.get_submodule(top), "bias", None)
        seen = {
            "weights": torch.stack([entry["weight"] for entry in log]),
            "grads": torch.stack([torch.zeros_like(leaf) if e["grad"] is None else e["grad"] for e in log]).detach(),
            "missing": [entry["grad"] is None for entry in log],
            "biases": None if other is None else torch.stack([entry["bias"] for entry in log]),
            "rates": [[float(rate) for rate in entry["rates"]] for entry in log],
            "norm": None if log[-1]["norm"] is None else log[-1]["norm"].reshape(1),
            "tied": all(entry["tied"] for entry in log),
            "kept": all(entry["kept"] for entry in log),
            "calls": [len(entry["losses"]) for entry in log],
            "returned": all(entry["returned"] for entry in log),
            "in_place": leaf is not first or leaf.data_ptr() == weight.data_ptr(),
            "same": leaf is first,
            **report(model, leaf, optimizers),
        }
        pairs = [(leaf, twin)] if other is None else [(leaf, twin), (other, twin_bias)]
        expected = [entry["grad"] for entry in log] if observed else summed
        return seen | follow(build, optimizers, pairs, log, expected, summed_bias, sparse, closure, observed)
    except Exception as error:
        if any(re.search(pattern, str(error)) for pattern in refusals):
            return {"refusal": str(error)}
        raise


def advance(
    model: Any,
    table: str,
    top: str,
    optimizer: Any,
    backward_pass: Callable[..., Tensor],
    clip: Callable[..., Any],
    zero: Callable[..., None],
    closure: bool,
    count: int,
    data: tuple[Any, ...],
) -> dict[str, Any]:
    leaf, other = model.get_submodule(table).weight, getattr(model.get_submodule(top), "bias", None)
    parameters = [leaf] if other is None else [leaf, other]
    rates = [group["lr"] for group in optimizer.param_groups]
    entry: dict[str, Any] = {"norm": None}
    entry["rates"] = [rate.clone() if isinstance(rate, Tensor) else rate for rate in rates]
    loss = torch.zeros(())
    entry["losses"] = []

    def compute() -> Tensor:
        nonlocal loss
        zero(model, optimizer)
        for _ in range(count):
            loss = backward_pass(model, *data)
        entry["losses"].append(loss.detach().clone())
        entry["norm"] = clip(list(model.parameters()))
        entry["grads"] = [None if p.grad is None else p.grad.detach().clone() for p in parameters]
        return loss

    if closure:
        with torch.no_grad():
            result = optimizer.step(compute)
        entry["returned"] = isinstance(result, Tensor) and (optimizer.__class__.__name__ == "LBFGS" or result is loss)
        held, entry["kept"] = [p.grad for p in parameters], True
    else:
        compute()
        held = [p.grad for p in parameters]
        marks = [(p.data_ptr(), p.stride(), p.dtype, p.requires_grad) for p in parameters]
        # With differentiable=True a leaf that requires grad can't be updated in place.
        frozen = any(group.get("differentiable") for group in optimizer.param_groups)
        for p in parameters:
            p.requires_grad_(p.requires_grad and not frozen)
        entry["returned"] = optimizer.step() is None
        for p, mark in zip(parameters, marks, strict=True):
            p.requires_grad_(mark[3])
        entry["kept"] = all(
            p.grad is g
            and (b is None or torch.equal(b.to_dense() if b.is_sparse else b, g.to_dense() if g.is_sparse else g))
            and mark == (p.data_ptr(), p.stride(), p.dtype, p.requires_grad)
            and p.is_leaf
            for p, g, b, mark in zip(parameters, held, entry["grads"], marks, strict=True)
        )
    grad, bias_grad = held[0], entry["grads"][-1]
    entry["tied"] = model.get_submodule(top).weight is leaf and model.get_submodule(table).weight is leaf
    first = entry["grads"][0]
    entry["grad"] = first.to_dense() if first is not None and first.is_sparse else first
    entry["strides"] = None if grad is None or grad.is_sparse else grad.stride()
    entry["missing"] = [g is None for g in held]
    entry["weight"], entry["laid"] = leaf.detach().clone(), leaf.stride()
    entry["bias"] = None if other is None else other.detach().clone()
    entry["bias_grad"] = None if other is None else bias_grad
    return entry


def follow(
    build: Callable[..., Any],
    optimizers: list[Any],
    pairs: list[tuple[Tensor, Tensor]],
    log: list[dict[str, Any]],
    expected: Any,
    expected_bias: Tensor | None,
    sparse: bool,
    closure: bool,
    observed: bool,
) -> dict[str, Any]:
    twins = {id(tied): torch.nn.Parameter(alone) for tied, alone in pairs}
    both = list(twins.values())
    shown = [group["params"] for group in optimizers[0].param_groups]
    known = [[twins[id(p)] for p in parameters if id(p) in twins] for parameters in shown]
    alone = [build([{"params": parameters} for parameters in known if parameters]) for _ in optimizers]
    weights, biases = [], []
    for k, entry in enumerate(log):
        optimizer = alone[k % len(alone)]
        for group, rate in zip(optimizer.param_groups, entry["rates"], strict=False):
            group["lr"] = rate
        both[0].grad = None
        if both[0].stride() != entry["laid"]:
            # A copy of a table that was not dense in memory is, and is stepped by another kernel.
            both[0].data = both[0].new_empty_strided(both[0].shape, entry["laid"]).copy_(both[0].data)
        if not entry["missing"][0]:
            if sparse and entry["strides"] is None:
                # The observed one: the order in which its duplicates are added decides how the sum is rounded.
                both[0].grad = entry["grads"][0].clone()
            else:
                # The same strides, since a vectorised kernel may round unlike its scalar tail.
                both[0].grad = expected[k].new_empty_strided(both[0].shape, entry["strides"]).copy_(expected[k])
        if len(both) > 1:
            both[1].grad = None
            if not entry["missing"][1]:
                both[1].grad = (entry["bias_grad"] if observed else expected_bias[k]).clone()  # type: ignore[index]
        frozen = any(group.get("differentiable") for group in optimizer.param_groups)
        for p in both:
            p.requires_grad_(not frozen)
        if closure:
            # The same losses, for on their differences depends when LBFGS ends; after the last one it repeats.
            losses = [*reversed(entry["losses"])]
            optimizer.step(lambda losses=losses: losses.pop() if losses[1:] else losses[0])
        else:
            optimizer.step()
        weights.append(both[0].detach().clone())
        biases.append(both[-1].detach().clone())
    state = alone[0].state.get(both[0], {})
    kept = [value for value in state.values() if isinstance(value, Tensor) and not value.is_sparse]
    return {
        "twin_weights": torch.stack(weights),
        "twin_biases": torch.stack(biases) if len(both) > 1 else None,
        "twin_state": torch.cat([value.detach().reshape(-1).double() for value in kept]) if kept else None,
        "twin_strides": [value.stride() for value in kept],
    }


def report(model: Any, leaf: Tensor, optimizers: list[Any]) -> dict[str, Any]:
    optimizer = optimizers[0]
    state = optimizer.state.get(leaf, {})
    kept = {name: value for name, value in state.items() if isinstance(value, Tensor) and not value.is_sparse}
    values, packed = model.state_dict(), optimizer.state_dict()
    names = [name for name, p in model.named_parameters(remove_duplicate=False) if p is leaf]
    return {
        "listed": [sum(p is leaf for p in model.parameters()), sum(p is leaf for _, p in model.named_parameters())],
        "names": names,
        "stored": [name for name, value in values.items() if value.data_ptr() == leaf.data_ptr()],
        "optimized": sum(p is leaf for group in optimizer.param_groups for p in group["params"]),
        "slots": sum(p is leaf for p in optimizer.state),
        "packed": [sum(len(group["params"]) for group in packed["param_groups"]), len(packed["state"])],
        "unpacked": [len({id(p) for group in optimizer.param_groups for p in group["params"]}), len(optimizer.state)],
        "state": [(n, str(v.dtype).removeprefix("torch."), tuple(v.shape)) for n, v in kept.items()],
        "state_values": torch.cat([v.detach().reshape(-1).double() for v in kept.values()]) if kept else None,
        "state_strides": [v.stride() for v in kept.values()],
        "steps": [float(o.state[leaf]["step"]) if "step" in o.state.get(leaf, {}) else None for o in optimizers],
    }


def list_twice(
    tie: Callable[..., Any], together: bool, kind: str, flags: dict[str, Any], weight: Tensor, sparse: bool
) -> dict[str, Any]:
    import warnings

    model, table, top = tie(weight, None, sparse)
    by_hand = [list(model.get_submodule(path).parameters()) for path in (table, top)]
    groups: Any = by_hand[0] + by_hand[1] if together else [{"params": parameters} for parameters in by_hand]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(torch.optim, kind)(groups, **flags)
    return {"warned": any("duplicate parameters" in str(warning.message) for warning in caught)}


def construct(kind: str, flags: dict[str, Any], weight: Tensor) -> dict[str, Any]:
    getattr(torch.optim, kind)([torch.nn.Parameter(weight)], **flags)
    return {}
