"""Programs: an optimizer's state is read, carried and loaded by another, and both go on.

They import nothing but torch, for their source is what a counterexample's script shows.  `torch.distributed.checkpoint`,
which takes long to import, is imported where a case uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

Tensor = torch.Tensor
#: A model, its tied weight and its other one, their optimizer and the scaler of their losses, if any.
Run = tuple[Any, list[Any], Any, Any]


def resume(
    tie: Callable[..., Any],
    kind: str,
    flags: dict[str, Any],
    own: dict[str, Any],
    groups: tuple[tuple[tuple[int, ...], float], ...],
    turned: bool,
    tensor_hyperparameters: bool,
    steps: int,
    idle: tuple[int, ...],
    frozen: tuple[int, ...],
    graded: bool,
    warm: bool,
    scaled: bool,
    asked: dict[str, Any] | None,
    save: Callable[..., Any],
    load: Callable[..., None],
    carry: Callable[[Any], Any],
    apart: bool,
    advance: Callable[..., Tensor],
    look: Callable[..., Any],
    name: Callable[..., dict[str, Any]],
    weight: Tensor,
    side: Tensor,
    pulls: Tensor,
    side_pulls: Tensor,
) -> dict[str, Any]:
    options: Any = None
    if asked is not None:
        try:
            from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
        except ImportError:
            return {"lacking": "this build has no torch.distributed.checkpoint.state_dict"}
        if not set(asked) <= set(StateDictOptions.__dataclass_fields__):
            return {"lacking": f"StateDictOptions has not all of {', '.join(asked)}"}
        options = StateDictOptions(**asked)

    import copy

    first, table, _ = tie(weight.clone(), None, False)
    first.add_module("side", torch.nn.Module())
    first.side.weight = torch.nn.Parameter(side.clone())
    models = [copy.deepcopy(first) for _ in range(1 if apart else 2)] + [first]

    def start(given: dict[str, Any], loads: bool, model: Any) -> Run:
        if model is None:  # nothing is tied
            members = [torch.nn.Parameter(weight.clone()), torch.nn.Parameter(side.clone())]
        else:
            members = [model.get_submodule(table).weight, model.side.weight]
        listed = []
        for names, rate in groups:
            lr = 8.0 if loads else torch.tensor(rate) if tensor_hyperparameters else rate
            order = names[::-1] if loads and turned else names
            listed.append({"params": [members[m] for m in order], "lr": lr})
        optimizer = getattr(torch.optim, kind)(listed[::-1] if loads and turned else listed, **given)
        scale = 2.0 if loads else 4.0
        scaler = torch.amp.GradScaler(weight.device.type, init_scale=scale, growth_interval=1) if scaled else None
        return model, members, optimizer, scaler

    def go(run: Run, first: int, count: int) -> Tensor:
        gone = [advance(run, (pulls[k], side_pulls[k]), idle if k < steps else ()) for k in range(first, first + count)]
        return torch.stack(gone) if gone else torch.zeros(0)

    def halt(run: Run, graded: bool) -> None:
        for m, p in enumerate(run[1]):
            if graded and p.grad is None and m not in idle:
                p.grad = torch.ones_like(p)
                p.grad = p.grad.to_sparse(1) if kind == "SparseAdam" else p.grad
            if not graded:
                p.grad = None
            p.requires_grad_(m not in frozen)

    # One without ties goes on without a break.
    straight = start(flags, False, None)
    go(straight, 0, steps)
    seen: dict[str, Any] = {"straight": go(straight, steps, 2)}
    seen["straight_kinds"], seen["straight_state"] = look(straight)
    # The state of another one is read and carried.
    giver = start(flags, False, models.pop())
    go(giver, 0, steps)
    halt(giver, graded)
    calls: list[Any] = []
    hook = giver[2].register_step_pre_hook(lambda *given: calls.append(given))
    kinds, values = look(giver)
    grads = [p.grad for p in giver[1]]
    saved = save(giver[0], giver[2], options)
    seen["saved_kinds"], seen["saved_state"] = look(giver)
    kept = all(p.grad is g for p, g in zip(giver[1], grads, strict=True))
    seen["read_kept"] = kept and kinds == seen["saved_kinds"] and torch.equal(values, seen["saved_state"])
    seen["hook_calls"] = len(calls)
    hook.remove()
    seen |= {"model_names": list(saved["model"]), **name(giver[0], saved["optimizer"])}
    if asked is not None and frozen:
        trained = StateDictOptions(ignore_frozen_params=True)
        seen["trained_names"] = list(get_model_state_dict(giver[0], options=trained))
    try:
        carried = carry(saved)
    except ImportError:
        return {"lacking": "this release has nothing that carries a state so"}
    # A third one loads it and goes on.
    model, members, optimizer, scaler = taker = start(own, True, models.pop())
    with torch.no_grad():
        for p in members:
            p.fill_(77.0)
    if warm:
        advance((model, members, optimizer, None), (pulls[-1], side_pulls[-1]), ())
    halt(taker, False)
    before = [(path, value.clone() if isinstance(value, Tensor) else value) for path, value in leaves(carried)]
    load(model, optimizer, carried, options)
    given = leaves(carried)
    seen["given_kept"] = [path for path, _ in given] == [path for path, _ in before] and all(
        torch.equal(value, old) if isinstance(value, Tensor) else value == old
        for (_, value), (_, old) in zip(given, before, strict=True)
    )
    if scaler is not None:
        scaler.load_state_dict(giver[3].state_dict())
    seen["loaded_kinds"], seen["loaded_state"] = look(taker)
    seen["strays"] = sum(not any(key is p for p in members) for key in optimizer.state)
    mine, theirs = pointers(taker), pointers(giver)
    seen["shared"] = len(mine) - len(set(mine)) + len(set(mine) & set(theirs))
    model.requires_grad_(True)
    seen["resumed"] = go(taker, steps, 2)
    seen["resumed_kinds"], seen["resumed_state"] = look(taker)
    kinds, values = look(giver)
    seen["giver_left"] = kinds == seen["saved_kinds"] and torch.equal(values, seen["saved_state"])
    # The one that was read goes on too; or one like it, where the other may have moved what it holds.
    reader = giver
    if not apart:
        reader = start(flags, False, models.pop())
        go(reader, 0, steps)
        halt(reader, graded)
        save(reader[0], reader[2], options)
    reader[0].requires_grad_(True)
    seen["read_on"] = go(reader, steps, 2)
    seen["scales"] = [] if scaler is None else [straight[3].get_scale(), reader[3].get_scale(), scaler.get_scale()]
    return seen


def advance(run: Run, pulls: tuple[Tensor, ...], idle: tuple[int, ...]) -> Tensor:
    """One step with given gradients; the weights after it in a row."""
    _, members, optimizer, scaler = run
    sparse = optimizer.__class__.__name__ == "SparseAdam"
    factor = 1.0
    if scaler is not None:
        scaler.scale(torch.ones(()))
        factor = scaler.get_scale()

    def compute() -> Tensor:
        for m, (p, pull) in enumerate(zip(members, pulls, strict=True)):
            grad = pull * factor
            p.grad = None if m in idle else grad.to_sparse(1) if sparse else grad
        return sum(((p.detach() * pull).sum() for p, pull in zip(members, pulls, strict=True)), torch.zeros(()))

    if optimizer.__class__.__name__ == "LBFGS":
        optimizer.step(compute)
    elif scaler is not None:
        compute()
        scaler.step(optimizer)
        scaler.update()
    else:
        compute()
        optimizer.step()
    return torch.cat([p.detach().reshape(-1) for p in members])


def leaves(thing: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """What is in dicts, lists and tuples, each with its path."""
    if not isinstance(thing, (dict, list, tuple)):
        return [(path, thing)]
    entries: Iterator[Any] = iter(thing.items() if isinstance(thing, dict) else enumerate(thing))
    return [leaf for key, value in entries for leaf in leaves(value, (*path, key))]


def held(run: Run) -> list[tuple[tuple[Any, ...], Any]]:
    """The options of each member's group, then its state."""
    _, members, optimizer, _ = run
    found = []
    for m, p in enumerate(members):
        for group in optimizer.param_groups:
            if any(p is other for other in group["params"]):
                options = {key: value for key, value in group.items() if key != "params"}
                found += leaves(options, (m, "options"))
        found += leaves(optimizer.state.get(p, {}), (m, "state"))
    return sorted(found, key=lambda leaf: repr(leaf[0]))


def look(run: Run) -> tuple[list[Any], Tensor]:
    """What an optimizer holds: by path the options and numbers, and the dtypes and shapes of tensors; their values."""
    found = held(run)
    kinds = [
        (*path, str(value.dtype).removeprefix("torch."), tuple(value.shape))
        if isinstance(value, Tensor)
        else (*path, value)
        for path, value in found
    ]
    tensors = [v.detach().cpu().to_dense().reshape(-1).double() for _, v in found if isinstance(v, Tensor)]
    return kinds, torch.cat(tensors) if tensors else torch.zeros(0, dtype=torch.float64)


def pointers(run: Run) -> list[int]:
    """Where the tensors are that an optimizer holds, and its parameters."""
    tensors = [(path[1], value) for path, value in held(run) if isinstance(value, Tensor)]
    states = [value for where, value in tensors if where == "state"]
    rates = {id(value): value for where, value in tensors if where == "options"}  # met with each member of a group
    return [value.data_ptr() for value in [*states, *rates.values(), *run[1]] if value.numel()]


def name(model: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Under which names a state has a state and options, and the rate of each."""
    names = [each for each, _ in model.named_parameters(remove_duplicate=False)]
    if "param_groups" in state:
        return {
            "state_names": sorted(key for key, value in state["state"].items() if value),
            "group_names": [group["params"] for group in state["param_groups"]],
            "rates": {key: float(group["lr"]) for group in state["param_groups"] for key in group["params"]},
        }
    return {
        "state_names": sorted(each for each in names if any(key.startswith(f"state.{each}.") for key in state)),
        "group_names": sorted(each for each in names if any(key.startswith(f"param_groups.{each}.") for key in state)),
        "rates": {each: float(state[key]) for each in names if (key := f"param_groups.{each}.lr") in state},
    }
