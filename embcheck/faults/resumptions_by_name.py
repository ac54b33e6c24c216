"""Faults of states that go by names; torch.distributed.checkpoint is imported where one is planted or looked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import fault, patched
from embcheck.faults.around import pair
from embcheck.faults.resumptions import fresh, trained


def by_name() -> Any:
    """The module of states by name."""
    return importlib.import_module("torch.distributed.checkpoint.state_dict")


def there() -> bool:
    """Whether this release has states by name, flattened ones too."""
    try:
        return "flatten_optimizer_state_dict" in by_name().StateDictOptions.__dataclass_fields__
    except ImportError:
        return False


def planted(attribute: str, wrong: Callable[..., Any]) -> Any:
    """``wrong(original, *given, **flags)`` in the place of a function of the module."""
    original = getattr(by_name(), attribute)
    return patched(by_name(), **{attribute: lambda *given, **flags: wrong(original, *given, **flags)})


def rates(turned: bool, **options: Any) -> list[float]:
    """The rates of an optimizer, in the order of the model's parameters, that loaded a state by name."""
    chosen = by_name().StateDictOptions(**options)
    model, optimizer = trained()
    state = by_name().get_optimizer_state_dict(model, optimizer, options=chosen)
    model, other = fresh()
    if turned:
        other.param_groups.reverse()
    by_name().set_optimizer_state_dict(model, other, state, options=chosen)
    found = {id(group["params"][0]): group["lr"] for group in other.param_groups}
    return [found[id(p)] for p in model.parameters()]


def steps_past_gradients() -> bool:
    """Whether reading a fresh optimizer's state where there are gradients leaves a state."""
    model, optimizer = fresh()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    by_name().get_optimizer_state_dict(model, optimizer)
    return bool(optimizer.state)


@fault("resumption", steps_past_gradients, applies=there)
def reading_by_name_steps_past_gradients() -> Iterator[None]:
    """Reading the state of a fresh optimizer by name makes one although there are gradients."""

    def wrong(original: Any, optimizer: Any) -> None:
        members = [p for group in optimizer.param_groups for p in group["params"]]
        grads = [p.grad for p in members]
        for p in members:
            p.grad = None
        original(optimizer)
        for p, grad in zip(members, grads, strict=True):
            p.grad = grad

    with planted("_init_optim_state", wrong):
        yield


@fault("resumption", lambda: rates(True) != [0.5, 0.25], applies=there)
def states_by_name_go_by_places() -> Iterator[None]:
    """Groups of a state by name are matched by their places."""

    def wrong(original: Any, model: Any, optimizer: Any, state: Any, info: Any) -> Any:
        found = original(model, optimizer, state, info)
        for mine, theirs in zip(found["param_groups"], state["param_groups"], strict=True):
            mine |= {name: value for name, value in theirs.items() if name != "params"}
        return found

    with planted("_split_optim_state_dict", wrong):
        yield


@fault("resumption", lambda: rates(False, flatten_optimizer_state_dict=True) != [0.5, 0.25], applies=there)
def flat_states_have_the_first_groups_options() -> Iterator[None]:
    """Every group of a flattened state gets the options of the first one."""

    def wrong(original: Any, optimizer: Any, state: Any, info: Any) -> Any:
        found = original(optimizer, state, info)
        first = found["param_groups"][0]
        found["param_groups"] = [{**first, "params": group["params"]} for group in found["param_groups"]]
        return found

    with planted("_unflatten_optim_state_dict", wrong):
        yield


def state_names() -> set[str]:
    """The names in a state."""
    return set(by_name().get_optimizer_state_dict(*trained())["state"])


@fault("resumption", lambda: state_names() != {"embedding.weight", "head.bias"}, applies=there)
def states_have_the_last_name_of_a_tie() -> Iterator[None]:
    """A state by name has a tied weight under the last of its names."""

    def wrong(original: Any, model: Any, optimizer: Any, **flags: Any) -> Any:
        found = original(model, optimizer, **flags)
        last = {p: name for name, p in model.named_parameters(remove_duplicate=False)}
        names = {name: last[p] for name, p in model.named_parameters()}
        if "state" in found:
            found["state"] = {names[name]: kept for name, kept in found["state"].items()}
            for group in found["param_groups"]:
                group["params"] = [names[name] for name in group["params"]]
        return found

    with planted("get_optimizer_state_dict", wrong):
        yield


def names_without_frozen() -> list[str]:
    """The names of a model's state without its frozen bias."""
    model = pair(bias=True)
    model["head"].bias.requires_grad_(False)
    return list(by_name().get_model_state_dict(model, options=by_name().StateDictOptions(ignore_frozen_params=True)))


@fault("resumption", lambda: names_without_frozen() != ["embedding.weight", "head.weight"], applies=there)
def ignoring_frozen_parameters_ignores_ties() -> Iterator[None]:
    """A model's state without frozen parameters has one name of each of the others."""

    def wrong(original: Any, model: Any, **flags: Any) -> Any:
        found = original(model, **flags)
        if flags.get("options") is not None and flags["options"].ignore_frozen_params:
            once = {name for name, _ in model.named_parameters()}
            found = {name: value for name, value in found.items() if name in once}
        return found

    with planted("get_model_state_dict", wrong):
        yield


def frozen_value() -> float:
    """A frozen weight after a whole state was set."""
    model, optimizer = trained()
    weights, state = by_name().get_state_dict(model, optimizer)
    model, other = fresh()
    with torch.no_grad():
        model["head"].bias.fill_(9.0)
    model["head"].bias.requires_grad_(False)
    by_name().set_state_dict(model, other, model_state_dict=weights, optim_state_dict=state)
    return float(model["head"].bias[0])


@fault("resumption", lambda: frozen_value() == 9.0, applies=there)
def whole_states_leave_frozen_weights() -> Iterator[None]:
    """set_state_dict leaves frozen weights as they are."""

    def wrong(original: Any, model: Any, *given: Any, **flags: Any) -> Any:
        before = [(p, p.detach().clone()) for p in model.parameters() if not p.requires_grad]
        found = original(model, *given, **flags)
        with torch.no_grad():
            for p, old in before:
                p.copy_(old)
        return found

    with planted("set_state_dict", wrong):
        yield
