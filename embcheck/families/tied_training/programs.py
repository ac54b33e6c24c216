"""Programs that train a tied pair.

`train` builds a model whose embedding and head share one parameter and takes some steps; `follow` gives an untied
parameter the gradients that are due and takes the same steps.  What differs is the fault of the tie.  What happens
on the way is in `embcheck.families.tied_training.training_steps`.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
Function = Callable[..., Any]

#: Options of L-BFGS: a history that is shorter than its iterations, and a line search whose first length is far too large.
CURVED: dict[str, dict[str, Any]] = {
    "recursed": {"lr": 0.5, "max_iter": 5, "history_size": 2},
    "searched": {"lr": 64.0, "max_iter": 1, "max_eval": 9, "line_search_fn": "strong_wolfe"},
}


def train(
    tie: Function,
    listing: Function,
    backward_pass: Function,
    event: Function,
    optimizer: tuple[str, dict[str, Any], tuple[str, ...]],
    schedule: tuple[Any, ...],
    gradients: tuple[Function, Function, bool],
    steps: tuple[tuple[int, int, str, bool], ...],
    closure: bool,
    embedding: dict[str, Any],
    **fed: Tensor,
) -> dict[str, Any]:
    """Takes ``steps``: of each which of several optimizers, how many backward passes, by which path, and whether the event
    comes before it.

    ``optimizer`` is a class, flags, and which of these are tensors; ``schedule`` what the steps of a scheduler are given,
    what makes it, and what that is given; ``gradients`` how they are cleared and clipped, and whether that scales them;
    ``embedding`` has the embedding's flags.
    """
    kind, flags, boxed = optimizer
    zero, clip, scaled = gradients

    def build(groups: Any, **changes: Any) -> Any:
        boxes = {
            name: tuple(torch.tensor(beta) for beta in flags[name]) if name == "betas" else torch.tensor(flags[name])
            for name in boxed
        }
        return getattr(torch.optim, kind)(groups, **{**flags, **boxes, **changes})

    model, table, top = tie(fed["weight"], fed.get("bias"), **embedding)
    leaf = first = model.get_submodule(table).weight
    leaf.grad = fed.get("grad")
    log: list[dict[str, Any]] = []
    optimizers = [listing(build, model, table, top) for _ in range(1 + max(turn for turn, *_ in steps))]
    schedulers = [schedule[1](each, *schedule[2:]) for each in optimizers if schedule]
    for k, (turn, count, use, eventful) in enumerate(steps):
        if eventful:
            found = event(k, model, optimizers[turn])
            model, optimizers[turn] = found or (model, optimizers[turn])
        data = [*(fed[name][k] for name in ("indices", "hidden", "below", "above")), use]
        passes = [(backward_pass, data)] * count
        hooked = k % 2 == 1  # every other step has its closure from a hook
        log.append(advance(model, table, top, optimizers[turn], passes, zero, clip, closure, hooked))
        if schedule:
            schedulers[turn].step(*schedule[0])
    leaf = model.get_submodule(table).weight
    seen = {
        "in_place": leaf is not first or leaf.data_ptr() == fed["weight"].data_ptr(),
        "same": leaf is first,
        **logged(log, leaf),
        **report(model, leaf, optimizers),
    }
    pairs = [(leaf, fed["twin"])]
    pairs += [(model.get_submodule(top).bias, fed["twin_bias"])] if "bias" in fed else []
    return seen | follow(build, optimizers, pairs, log, due(log, scaled, fed), closure)


def advance(
    model: Any,
    table: str,
    top: str,
    optimizer: Any,
    passes: list[tuple[Function, list[Any]]],
    zero: Function,
    clip: Function,
    closure: bool,
    hooked: bool,
) -> dict[str, Any]:
    """One step, perhaps with a closure, which the optimizer gets from a hook if it is ``hooked``."""
    leaf, other = model.get_submodule(table).weight, getattr(model.get_submodule(top), "bias", None)
    parameters = [leaf] if other is None else [leaf, other]
    rates = [group["lr"] for group in optimizer.param_groups]
    entry: dict[str, Any] = {"losses": []}
    entry["rates"] = [rate.clone() if isinstance(rate, Tensor) else rate for rate in rates]
    loss = torch.zeros(())

    def compute() -> Tensor:
        nonlocal loss
        zero(model, optimizer)
        for backward_pass, data in passes:
            loss = backward_pass(model, *data)
        entry["losses"].append(loss.detach().clone())
        entry["norm"] = clip(list(model.parameters()))
        entry["grads"] = [None if p.grad is None else p.grad.detach().clone() for p in parameters]
        return loss

    if closure:
        before = marks(parameters)
        with torch.no_grad():
            result = step_hooked(optimizer, compute) if hooked else optimizer.step(compute)
        entry["returned"] = isinstance(result, Tensor) and (optimizer.__class__.__name__ == "LBFGS" or result is loss)
        entry["kept"] = marks(parameters) == before
    else:
        compute()
        entry |= step(optimizer, parameters, entry["grads"])
    held, first = [p.grad for p in parameters], entry["grads"][0]
    entry["tied"] = model.get_submodule(top).weight is leaf and model.get_submodule(table).weight is leaf
    entry["grad"] = first.to_dense() if first is not None and first.is_sparse else first
    entry["strides"] = None if held[0] is None or held[0].is_sparse else held[0].stride()
    entry["missing"] = [g is None for g in held]
    entry["weight"], entry["laid"] = leaf.detach().clone(), leaf.stride()
    entry["bias"] = None if other is None else other.detach().clone()
    return entry


def step_hooked(optimizer: Any, closure: Function) -> Any:
    """What a step returns whose closure comes from the first of two hooks."""
    gives = optimizer.register_step_pre_hook(lambda _, args, kwargs: (args[:1], {"closure": closure}))
    with gives, optimizer.register_step_pre_hook(lambda _, args, kwargs: None):
        return optimizer.step()


def marks(parameters: list[Any]) -> list[Any]:
    """Memory, strides, dtype and flags of each parameter."""
    return [(p.data_ptr(), p.stride(), p.dtype, p.requires_grad, p.is_leaf) for p in parameters]


def step(optimizer: Any, parameters: list[Any], before: list[Any]) -> dict[str, Any]:
    """Takes a step, and says whether it returned nothing and kept gradients, memory, strides, dtypes and flags."""
    held, marked = [p.grad for p in parameters], marks(parameters)
    # With differentiable=True a leaf that requires grad can't be updated in place.
    frozen = any(group.get("differentiable") for group in optimizer.param_groups)
    for p in parameters:
        p.requires_grad_(p.requires_grad and not frozen)
    returned = optimizer.step() is None
    for p, mark in zip(parameters, marked, strict=True):
        p.requires_grad_(mark[3])
    kept = marks(parameters) == marked and all(
        p.grad is g and (b is None or torch.equal(b.to_dense(), g.to_dense()))
        for p, g, b in zip(parameters, held, before, strict=True)
    )
    return {"returned": returned, "kept": kept}


def logged(log: list[dict[str, Any]], leaf: Tensor) -> dict[str, Any]:
    """What was noted of all steps together."""
    last = log[-1]
    return {
        "weights": torch.stack([entry["weight"] for entry in log]),
        "grads": torch.stack([torch.zeros_like(leaf) if e["grad"] is None else e["grad"] for e in log]).detach(),
        "missing": [entry["grad"] is None for entry in log],
        "biases": None if last["bias"] is None else torch.stack([entry["bias"] for entry in log]),
        "rates": [[float(rate) for rate in entry["rates"]] for entry in log],
        "norm": None if last["norm"] is None else last["norm"].reshape(1),
        "calls": [len(entry["losses"]) for entry in log],
        **{name: all(entry[name] for entry in log) for name in ("tied", "kept", "returned")},
    }


def due(log: list[dict[str, Any]], scaled: bool, fed: dict[str, Tensor]) -> list[tuple[Any, Any]]:
    """The gradients of weight and bias in each step: as computed by hand, or as observed where they were scaled."""
    if scaled:
        return [(entry["grad"], entry["grads"][-1]) for entry in log]
    return [(fed["summed"][k], fed["summed_bias"][k] if "bias" in fed else None) for k in range(len(log))]


def follow(
    build: Function,
    optimizers: list[Any],
    pairs: list[tuple[Tensor, Tensor]],
    log: list[dict[str, Any]],
    gradients: list[tuple[Any, Any]],
    closure: bool,
) -> dict[str, Any]:
    twins = {id(tied): torch.nn.Parameter(alone) for tied, alone in pairs}
    both = list(twins.values())
    shown = [group["params"] for group in optimizers[0].param_groups]
    known = [[twins[id(p)] for p in parameters if id(p) in twins] for parameters in shown]
    alone = [build([{"params": parameters} for parameters in known if parameters]) for _ in optimizers]
    weights, biases = [], []
    for k, (entry, (gradient, bias_gradient)) in enumerate(zip(log, gradients, strict=True)):
        optimizer, weight, bias = alone[k % len(alone)], both[0], both[-1]
        for group, rate in zip(optimizer.param_groups, entry["rates"], strict=False):
            group["lr"] = rate
        for p in both:
            p.grad = None
        if weight.stride() != entry["laid"]:
            # A copy of a table that was not dense in memory is, and is stepped by another kernel.
            weight.data = weight.new_empty_strided(weight.shape, entry["laid"]).copy_(weight.data)
        if not entry["missing"][0] and entry["strides"] is None:
            # The observed one: the order in which its duplicates are added decides how the sum is rounded.
            weight.grad = entry["grads"][0].clone()
        elif not entry["missing"][0]:
            # The same strides, since a vectorised kernel may round unlike its scalar tail.
            weight.grad = gradient.new_empty_strided(weight.shape, entry["strides"]).copy_(gradient)
        if len(both) > 1 and not entry["missing"][1]:
            bias.grad = bias_gradient.clone()
        frozen = any(group.get("differentiable") for group in optimizer.param_groups)
        for p in both:
            p.requires_grad_(not frozen)
        if closure:
            # The same losses, for on their differences depends when LBFGS ends; after the last one it repeats.
            losses = [*reversed(entry["losses"])]
            optimizer.step(lambda losses=losses: losses.pop() if losses[1:] else losses[0])
        else:
            optimizer.step()
        weights.append(weight.detach().clone())
        biases.append(bias.detach().clone())
    kept = kept_tensors(alone[0], both[0]).values()
    return {
        "twin_weights": torch.stack(weights),
        "twin_biases": torch.stack(biases) if len(both) > 1 else None,
        "twin_state": torch.cat([value.detach().reshape(-1).double() for value in kept]) if kept else None,
        "twin_strides": [value.stride() for value in kept],
    }


def kept_tensors(optimizer: Any, parameter: Tensor) -> dict[str, Tensor]:
    """The dense tensors that an optimizer keeps of a parameter."""
    state = optimizer.state.get(parameter, {})
    return {name: value for name, value in state.items() if isinstance(value, Tensor) and not value.is_sparse}


def report(model: Any, leaf: Tensor, optimizers: list[Any]) -> dict[str, Any]:
    optimizer = optimizers[0]
    kept = kept_tensors(optimizer, leaf)
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


def list_twice(tie: Function, twice: str, kind: str, flags: dict[str, Any], weight: Tensor, sparse: bool) -> Any:
    """Whether an optimizer warns of the groups; one that refuses them must also refuse those that are added after a step."""
    groups = groups_of_two(tie, twice, weight, sparse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            getattr(torch.optim, kind)(groups, **flags)
        except ValueError:
            if not groups[1:]:
                raise
            add_later(kind, flags, groups_of_two(tie, twice, weight.clone(), sparse))
    return {"warned": any("duplicate parameters" in str(warning.message) for warning in caught)}


def add_later(kind: str, flags: dict[str, Any], groups: Any) -> None:
    optimizer = getattr(torch.optim, kind)(groups[:1], **flags)
    for p in optimizer.param_groups[0]["params"]:
        p.grad = torch.ones_like(p).to_sparse(1) if kind == "SparseAdam" else torch.ones_like(p)
    optimizer.step(lambda: 0.0)
    for group in groups[1:]:
        optimizer.add_param_group(group)


def groups_of_two(tie: Function, twice: str, weight: Tensor, sparse: bool) -> Any:
    model, table, top = tie(weight, None, sparse=sparse)
    parts = {path: model.get_submodule(path) for path in (table, top)}
    by_hand = [
        list(part.named_parameters(path) if twice == "named" else part.parameters()) for path, part in parts.items()
    ]
    groups: Any = by_hand[0] + by_hand[1] if twice == "once" else [{"params": parameters} for parameters in by_hand]
    if twice == "groups_apart":
        groups.insert(1, {"params": [torch.nn.Parameter(torch.ones_like(weight))]})
    if twice == "bare":
        groups[1] = {"params": by_hand[1][0]}
    if twice == "half_named":
        groups = [{"params": list(parts[table].named_parameters())}, {"params": [torch.nn.Parameter(weight.clone())]}]
    if twice == "non_leaf":
        groups = [{"params": [weight.detach().requires_grad_() * 1]}]
    return groups


def construct(kind: str, flags: dict[str, Any], weight: Tensor) -> dict[str, Any]:
    getattr(torch.optim, kind)([torch.nn.Parameter(weight)], **flags)
    return {}


def train_by_lbfgs(**given: Any) -> dict[str, Any]:
    seen = train(**given)
    for name, flags in CURVED.items():
        seen[name], seen[f"{name}_bias"] = stepped_on_a_curve(flags)
    return seen


def stepped_on_a_curve(flags: dict[str, Any]) -> tuple[Any, Any]:
    """The table of a tied pair after a step of L-BFGS, and the bias of its head, which is frozen.

    Each row w is multiplied by itself, so that the loss is half the sum of 1, 2 and 4 times w².
    """
    embedding = torch.nn.Embedding(3, 1, _weight=torch.tensor([[2.0], [-1.0], [1.0]], dtype=torch.float64))
    head = torch.nn.Linear(1, 3, dtype=torch.float64)
    head.weight, head.bias = embedding.weight, torch.nn.Parameter(torch.zeros(3, dtype=torch.float64), False)
    optimizer = torch.optim.LBFGS([embedding.weight, head.bias], **flags)

    def compute() -> Any:
        optimizer.zero_grad()
        scores = head(embedding(torch.arange(3)))
        loss = (scores.diagonal() * torch.tensor([0.5, 1.0, 2.0])).sum()
        loss.backward()
        return loss

    optimizer.step(compute)
    return embedding.weight.detach(), head.bias.detach()
