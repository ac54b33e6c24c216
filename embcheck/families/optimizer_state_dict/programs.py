"""Programs: an optimizer's state is read, carried and loaded by another, and both go on.

`torch.distributed.checkpoint`, which takes long to import, is imported where a case uses it.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import by_name, named
from embcheck.families.lr_scheduler.programs import alike
from embcheck.families.optimizer_state_dict.loading import Tensor, hooked_states, other_states, rates_shared
from embcheck.families.tie_preservation.operations import stored

#: A model, its tied weight and its other one, and their optimizer.
Run = tuple[Any, list[Any], Any]
#: A class of torch.optim, its flags, and the members and options of each group.
Made = tuple[str, dict[str, Any], tuple[tuple[tuple[int, ...], dict[str, Any]], ...]]


def resume(
    tie: Callable[..., Any],
    giver: Made,
    taker: Made,
    steps: int,
    halted: tuple[tuple[int, ...], tuple[int, ...], bool],
    warm: bool,
    transfer: tuple[Any, ...],
    aside: bool,
    asked: dict[str, Any] | None,
    **fed: Tensor,
) -> dict[str, Any]:
    """``halted`` are members without a gradient when the state is read, those that are frozen, and whether there are
    gradients; ``transfer`` how it is read, loaded and carried, and whether that copies it."""
    save, load, carry, apart = transfer
    options = options_of(asked)
    if isinstance(options, str):
        return {"lacking": options}
    models = tied_models(tie, fed, 2 if apart else 3)
    pulls = list(zip(fed["pulls"], fed["side_pulls"], strict=True))

    def go(run: Run, first: int, count: int) -> Tensor:
        gone = [advance(run, pulls[k], halted[0] if k < steps else ()) for k in range(first, first + count)]
        return torch.stack(gone) if gone else torch.zeros(0)

    def read_one() -> tuple[Run, Any, dict[str, Any]]:
        run = start(giver, models.pop(), fed)
        go(run, 0, steps)
        halt(run, *halted)
        return run, *watched(run, lambda: save(run[0], run[2], options))

    # One without ties goes on without a break.
    straight = start(giver, None, fed)
    go(straight, 0, steps)
    seen: dict[str, Any] = {"straight": go(straight, steps, 2)}
    if aside:
        seen |= {"hooked": hooked_states(), "others": other_states()}
    seen["straight_kinds"], seen["straight_state"] = look(straight)
    # The state of another one is read and carried.
    one, saved, told = read_one()
    seen |= told | names_of(saved)
    if asked is not None and halted[1]:
        names = torch.distributed.checkpoint.state_dict.get_model_state_dict
        seen["trained_names"] = list(names(one[0], options=options_of({"ignore_frozen_params": True})))
    try:
        carried = carry(saved)
    except ImportError:
        return {"lacking": "this release has nothing that carries a state so"}
    # A third one, which has other numbers and perhaps took a step, loads it and goes on.
    other = start(taker, models.pop(), fed)
    with torch.no_grad():
        for p in other[1]:
            p.fill_(77.0)
    if warm:
        advance(other, pulls[-1], ())
        other[2].load_state_dict(copy.deepcopy(other[2].state_dict()))
    halt(other, *halted[:2], False)
    seen["given_kept"] = loaded(carried, lambda: load(other[0], other[2], carried, options))
    seen |= compared(other, one)
    seen["resumed"] = go(other, steps, 2)
    seen["resumed_kinds"], seen["resumed_state"] = look(other)
    seen["giver_left"] = alike(look(one), (seen["saved_kinds"], seen["saved_state"]))
    # The one that was read goes on too; or one like it, where the other may have moved what it holds.
    one = one if apart else read_one()[0]
    one[0].requires_grad_(True)
    seen["read_on"] = go(one, steps, 2)
    return seen


def tied_models(tie: Callable[..., Any], fed: dict[str, Tensor], count: int) -> list[tuple[Any, str]]:
    """Copies of a tied model, which has another matrix, too, each with the path of the table; the original is the last."""
    first, table, _ = tie(fed["weight"].clone(), None, sparse=False)
    first.add_module("side", torch.nn.Module())
    first.side.weight = torch.nn.Parameter(fed["side"].clone())
    return [(copy.deepcopy(first), table) for _ in range(count - 1)] + [(first, table)]


def start(made: Made, tied: tuple[Any, str] | None, fed: dict[str, Tensor]) -> Run:
    """A run of a tied model, or of two Parameters."""
    if tied is None:
        members = [torch.nn.Parameter(fed["weight"].clone()), torch.nn.Parameter(fed["side"].clone())]
    else:
        members = [tied[0].get_submodule(tied[1]).weight, tied[0].side.weight]
    kind, flags, groups = made
    listed = [{"params": [members[m] for m in names], **options} for names, options in groups]
    return tied and tied[0], members, getattr(torch.optim, kind)(listed, **flags)


def compared(run: Run, giver: Run) -> dict[str, Any]:
    """What one that loaded a state holds, of whom, and whose memory it is; its members are no longer frozen."""
    kinds, values = look(run)
    mine, theirs = pointers(run), pointers(giver)
    run[0].requires_grad_(True)
    return {
        "loaded_kinds": kinds,
        "loaded_state": values,
        "strays": sum(not any(key is p for p in run[1]) for key in run[2].state),
        "shared": len(mine) - len(set(mine)) + len(set(mine) & set(theirs)) + rates_shared(),
    }


def options_of(asked: dict[str, Any] | None) -> Any:
    """Options of torch.distributed.checkpoint.state_dict, or why there are none."""
    if asked is None:
        return None
    try:
        from torch.distributed.checkpoint.state_dict import StateDictOptions
    except ImportError:
        return "this build has no torch.distributed.checkpoint.state_dict"
    if not set(asked) <= set(StateDictOptions.__dataclass_fields__):
        return f"StateDictOptions has not all of {', '.join(asked)}"
    return StateDictOptions(**asked)


def halt(run: Run, idle: tuple[int, ...], frozen: tuple[int, ...], graded: bool) -> None:
    """Gives gradients, or takes them, and freezes members."""
    for m, p in enumerate(run[1]):
        if graded and p.grad is None and m not in idle:
            p.grad = torch.ones_like(p)
        if not graded:
            p.grad = None
        p.requires_grad_(m not in frozen)


def watched(run: Run, read: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """A state that is read, and whether reading changed state, options or gradients, or called the step's hooks."""
    calls: list[Any] = []
    hook = run[2].register_step_pre_hook(lambda *given: calls.append(given))
    before, grads = look(run), [p.grad for p in run[1]]
    saved = read()
    found = look(run)
    kept = all(p.grad is g for p, g in zip(run[1], grads, strict=True)) and alike(found, before)
    hook.remove()
    return saved, {"saved_kinds": found[0], "saved_state": found[1], "read_kept": kept, "hook_calls": len(calls)}


def loaded(carried: Any, load: Callable[[], Any]) -> bool:
    """Whether loading a state leaves it as it was."""
    before = copy.deepcopy(carried)
    load()
    return alike(carried, before)


def advance(run: Run, pulls: tuple[Tensor, ...], idle: tuple[int, ...]) -> Tensor:
    """One step with given gradients; the weights after it in a row."""
    _, members, optimizer = run
    for m, (p, pull) in enumerate(zip(members, pulls, strict=True)):
        p.grad = None if m in idle else pull.clone()
    optimizer.step()
    return torch.cat([p.detach().reshape(-1) for p in members])


def leaves(thing: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """What is in dicts, lists and tuples, each with its path."""
    if not isinstance(thing, (dict, list, tuple)):
        return [(path, thing)]
    entries: Any = thing.items() if isinstance(thing, dict) else enumerate(thing)
    return [leaf for key, value in entries for leaf in leaves(value, (*path, key))]


def held(run: Run) -> list[tuple[tuple[Any, ...], Any]]:
    """The options of each member's group, then its state."""
    _, members, optimizer = run
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
    states = [value for path, value in held(run) if isinstance(value, Tensor) and path[1] == "state"]
    return [value.data_ptr() for value in [*states, *run[1]] if value.numel()]


def names_of(saved: dict[str, Any]) -> dict[str, Any]:
    """The names in a model's state, those under which an optimizer's has a state and options, and the rate of each."""
    state = saved["optimizer"]
    return {
        "model_names": list(saved["model"]),
        "state_names": sorted(key for key, value in state["state"].items() if value),
        "group_names": [group["params"] for group in state["param_groups"]],
        "rates": {key: float(group["lr"]) for group in state["param_groups"] for key in group["params"]},
    }


# -- how states are read, carried and loaded -------------------------------------------------------------------------------


def save_plain(model: Any, optimizer: Any, options: Any) -> dict[str, Any]:
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def load_plain(model: Any, optimizer: Any, state: dict[str, Any], options: Any) -> None:
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])


def save_named(model: Any, optimizer: Any, options: Any) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

    return {
        "model": get_model_state_dict(model),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=options),
    }


def load_named(model: Any, optimizer: Any, state: dict[str, Any], options: Any) -> None:
    from torch.distributed.checkpoint.state_dict import set_model_state_dict, set_optimizer_state_dict

    set_model_state_dict(model, state["model"])
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=options)


#: What releases added to the options of a group, whose state of before has none of them.
ADDED = ("amsgrad", "maximize", "foreach", "capturable", "differentiable", "decoupled_weight_decay")


def older(state: Any) -> Any:
    """As a release before wrote it: without options that are off or follow from the class, and numbers in place of scalars."""
    state = copy.deepcopy(state)
    for group in state["optimizer"]["param_groups"]:
        for name in ADDED:
            if name == "decoupled_weight_decay" or not group.get(name):
                group.pop(name, None)
    for kept in state["optimizer"]["state"].values():
        kept.update({name: kept[name].item() for name in ("step", "eta", "mu", "mu_product") if name in kept})
    return state


def converted(state: Any) -> Any:
    import os
    import tempfile
    import warnings

    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save, torch_save_to_dcp

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, between, last = (os.path.join(folder, each) for each in ("first.pt", "checkpoint", "last.pt"))
        torch.save(state, first)
        torch_save_to_dcp(first, between)
        dcp_to_torch_save(between, last)
        return torch.load(last, weights_only=True)


#: How a state is read and loaded: parameters are told apart by their places, or by their names.
ROUTES = {"plain": (save_plain, load_plain), "named": (save_named, load_named)}
CARRIES: dict[str, Callable[[Any], Any]] = named(
    {
        "handed": lambda state: state,
        "copied": lambda state: copy.deepcopy(state),
        "filed": lambda state: stored(state, weights_only=True),
        **by_name(converted, older),
    },
    prefix="carry_",
)
