"""Faults of states that are read, loaded and gone on with."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import fault, patched
from embcheck.faults.around import around, pair

optim = torch.optim
Optimizer = optim.Optimizer


def trained(*skipped: str, boxed: bool = False, **options: Any) -> tuple[Any, Any]:
    """A tied pair with a bias, one group each, after a step with the gradients of some; what is skipped has none."""
    model = pair(bias=True)
    groups = [{"params": [p], "lr": torch.tensor(rate) if boxed else rate}
              for p, rate in zip(model.parameters(), (0.5, 0.25), strict=True)]  # fmt: skip
    optimizer = optim.Adam(groups, **options)
    for name, p in model.named_parameters():
        p.grad = None if name in skipped else torch.ones_like(p)
    optimizer.step()
    return model, optimizer


def loaded(optimizer: Any, frozen: bool = False, warm: bool = False, **options: Any) -> tuple[Any, Any]:
    """Another pair whose optimizer loaded a state."""
    model, other = trained(**options) if warm else fresh(**options)
    model.requires_grad_(not frozen)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return model, other


def fresh(**options: Any) -> tuple[Any, Any]:
    """A tied pair with a bias and an optimizer that has not stepped."""
    model = pair(bias=True)
    return model, optim.Adam([{"params": [p], "lr": 8.0} for p in model.parameters()], **options)


def clearing(original: Any, self: Any) -> Any:
    """The state, after whose reading frozen parameters have no gradient."""
    for group in self.param_groups:
        for p in group["params"]:
            if not p.requires_grad:
                p.grad = None
    return original(self)


def frozen_gradient() -> Any:
    """The gradient of a frozen parameter after its optimizer's state was read."""
    model, optimizer = trained()
    model.requires_grad_(False)
    optimizer.state_dict()
    return [p.grad is None for p in model.parameters()]


around(
    "reading_a_state_clears_frozen_gradients",
    "resumption",
    "Optimizer.state_dict() clears the gradients of frozen parameters.",
    Optimizer,
    "state_dict",
    clearing,
    frozen_gradient,
)


def renumbered(original: Any, self: Any) -> Any:
    """The state, in which only parameters that have one are counted."""
    found = original(self)
    found["state"] = dict(enumerate(found["state"].values()))
    return found


around(
    "states_are_numbered_without_gaps",
    "resumption",
    "Optimizer.state_dict() numbers the states one after the other: a parameter that had no gradient yet takes the next's.",
    Optimizer,
    "state_dict",
    renumbered,
    lambda: sorted(trained("embedding.weight")[1].state_dict()["state"]),
)


def without_frozen(original: Any, self: Any, state_dict: Any) -> None:
    """A state is loaded; frozen parameters have none afterwards."""
    original(self, state_dict)
    for p in [p for p in self.state if isinstance(p, torch.Tensor) and not p.requires_grad]:
        del self.state[p]


around(
    "loading_forgets_frozen_parameters",
    "resumption",
    "Optimizer.load_state_dict() drops the state of frozen parameters.",
    Optimizer,
    "load_state_dict",
    without_frozen,
    lambda: len(loaded(trained()[1], frozen=True)[1].state),
)


def own_rate(original: Any, self: Any, state_dict: Any) -> None:
    """A state is loaded; a rate that was saved as a tensor is not."""
    rates = [group["lr"] for group in self.param_groups]
    original(self, state_dict)
    for group, rate in zip(self.param_groups, rates, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"] = rate


around(
    "loading_keeps_the_own_rate_before_a_tensor",
    "resumption",
    "Optimizer.load_state_dict() keeps the rate of the one that loads if the saved one is a tensor.",
    Optimizer,
    "load_state_dict",
    own_rate,
    lambda: [float(group["lr"]) for group in loaded(trained(boxed=True)[1])[1].param_groups],
)


def one_count(original: Any, self: Any, state_dict: Any) -> None:
    """A state is loaded; its parameters have one count of steps."""
    original(self, state_dict)
    counts = [s for s in self.state.values() if isinstance(s, dict) and isinstance(s.get("step"), torch.Tensor)]
    for each in counts[1:]:
        if torch.equal(each["step"], counts[0]["step"]):
            each["step"] = counts[0]["step"]


around(
    "loaded_counts_are_one_tensor",
    "resumption",
    "Optimizer.load_state_dict() gives all parameters with one count of steps the same tensor.",
    Optimizer,
    "load_state_dict",
    one_count,
    lambda: len({s["step"].data_ptr() for s in loaded(trained()[1])[1].state.values()}),
)


def merged(original: Any, self: Any, state_dict: Any) -> None:
    """A state is loaded; what it does not have stays."""
    before = {p: dict(kept) for p, kept in self.state.items() if isinstance(p, torch.Tensor)}
    original(self, state_dict)
    for p, kept in before.items():
        if p not in self.state:
            self.state[p] = kept


around(
    "loading_leaves_states_that_were_not_saved",
    "resumption",
    "Optimizer.load_state_dict() leaves the state of a parameter that had none when it was saved.",
    Optimizer,
    "load_state_dict",
    merged,
    lambda: len(loaded(trained("head.bias")[1], warm=True)[1].state),
)


def emptied(original: Any, self: Any, state_dict: Any) -> None:
    """A state is loaded, and has nothing afterwards for what is numbered last."""
    original(self, state_dict)
    if len(state_dict["state"]) > 1:
        state_dict["state"].popitem()


def given_state() -> int:
    """How many states a given one has after it was loaded."""
    state = trained()[1].state_dict()
    fresh()[1].load_state_dict(state)
    return len(state["state"])


around(
    "loading_takes_from_the_given_state",
    "resumption",
    "Optimizer.load_state_dict() removes an entry of the state that it is given.",
    Optimizer,
    "load_state_dict",
    emptied,
    given_state,
)


def own_scale(original: Any, self: Any, state: Any) -> None:
    """A scaler's state is loaded but for its scale."""
    if state:
        original(self, {**state, "scale": self.get_scale()})


def loaded_scale() -> float:
    """The scale of a scaler that loaded another's state."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.load_state_dict(torch.amp.GradScaler("cpu", init_scale=8.0).state_dict())
    return float(scaler.get_scale())


around(
    "loaded_scaler_keeps_its_own_scale",
    "resumption",
    "GradScaler.load_state_dict() loads everything but the scale.",
    torch.amp.GradScaler,
    "load_state_dict",
    own_scale,
    loaded_scale,
)


# -- by name; torch.distributed.checkpoint is imported where a fault is planted or looked for --------------------------


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
