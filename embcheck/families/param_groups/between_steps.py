"""Programs: what comes between the first step of an optimizer and the second: its state is saved, loaded, refused.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.tied_training.between_steps import filed, loaded

Tensor = torch.Tensor
#: What comes before step 1: ``(optimizer, build) -> optimizer``.
Break = Callable[[Any, Callable[..., Any]], Any]


def reloaded_through_hooks(optimizer: Any, build: Callable[..., Any]) -> Any:
    calls: list[str] = []
    right = optimizer.state_dict()
    wrong = {"state": right["state"], "param_groups": [{**group, "lr": 8.0} for group in right["param_groups"]]}

    def corrected(caller: Any, given: Any) -> Any:
        calls.append("before" if given == wrong or given["param_groups"][0]["lr"] == 8.0 else "another")
        return right

    def note(word: str) -> Callable[..., None]:
        return lambda *given: calls.append(word)

    def noted(caller: Any, given: Any) -> None:  # into a copy of what was given
        calls.append("second")
        given["noted"] = True

    def tell(caller: Any, found: Any) -> Any:
        calls.append("told")
        return {**found, "told": True}

    fresh = build([{"params": group["params"]} for group in optimizer.param_groups], lr=4.0)
    handles = [
        fresh.register_load_state_dict_pre_hook(noted),
        fresh.register_load_state_dict_pre_hook(corrected),
        fresh.register_load_state_dict_pre_hook(note("first"), prepend=True),
        fresh.register_load_state_dict_post_hook(note("after")),
        fresh.register_load_state_dict_post_hook(note("before that"), prepend=True),
        fresh.register_state_dict_pre_hook(note("asked")),
        fresh.register_state_dict_pre_hook(note("before asked"), prepend=True),
        fresh.register_state_dict_post_hook(tell),
        fresh.register_state_dict_post_hook(note("before told"), prepend=True),
    ]
    fresh.load_state_dict(wrong)
    told = fresh.state_dict().get("told")
    for handle in handles:
        handle.remove()
    wanted = ["first", "second", "before", "before that", "after", "before asked", "asked", "before told", "told"]
    if calls != wanted or told is not True or "told" in fresh.state_dict():
        raise AssertionError(f"the hooks of a state came as {calls}, and gave {told}")
    if list(wrong) != ["state", "param_groups"]:
        raise AssertionError(f"what a hook of loading wrote is in the given state, which has {list(wrong)}")
    return fresh


def differentiate(optimizer: Any, build: Callable[..., Any], whole: bool) -> Any:
    """Three differentiable steps have the derivative by which they move; but for the first's part in a momentum."""
    if type(optimizer) is not torch.optim.SGD:
        return optimizer  # the others are not linear in their gradients

    def run(pulls: Tensor, start: Tensor, differentiable: bool) -> Tensor:
        weight = start * 1 if differentiable else torch.nn.Parameter(start.detach().clone())
        other = build([weight], foreach=None, fused=None, differentiable=differentiable)
        for pull in pulls:
            weight.grad = pull * 1 if differentiable else pull.detach().clone()
            other.step()
        return weight

    start = torch.ones(1, dtype=torch.float64, requires_grad=True)
    pulls = torch.tensor([[2.0], [-4.0], [1.0]], dtype=torch.float64, requires_grad=True)
    end = run(pulls, start, True)
    if not torch.equal(end, run(pulls, start, False)):
        raise AssertionError("a differentiable step ends elsewhere")
    found = torch.autograd.grad(end.sum(), [start, pulls])
    with torch.no_grad():
        moved = [run(pulls, start + 1, False) - end]
        moved += [run(pulls + step[:, None], start, False) - end for step in torch.eye(3, dtype=torch.float64)]
    momentum = optimizer.defaults["momentum"] != 0
    wanted = [float(x) for x in moved]
    got = [float(found[0]), *(float(x) for x in found[1])]
    if momentum and not whole:
        wanted[:2] = got[:2]
    if wanted != got:
        raise AssertionError(f"the derivative of three steps is {got}, but they move by {wanted}")
    return optimizer


def into_itself(optimizer: Any, build: Callable[..., Any]) -> Any:
    import copy

    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return optimizer


def counted_far(optimizer: Any, build: Callable[..., Any]) -> Any:
    """A count of steps that no narrow format holds comes back from a state_dict as it went, in the same dtype."""
    import copy

    right = copy.deepcopy(optimizer.state_dict())
    far = copy.deepcopy(right)
    counts = [state["step"] for state in far["state"].values() if isinstance(state.get("step"), Tensor)]
    for count in counts:
        count.fill_(4099.0)
    optimizer.load_state_dict(far)
    steps = [state["step"] for state in optimizer.state.values() if isinstance(state.get("step"), Tensor)]
    for before, after in zip(counts, steps, strict=True):
        if before.dtype != after.dtype or not torch.equal(before, after):
            raise AssertionError(f"4099 steps in {before.dtype} were loaded as {after.item()} in {after.dtype}")
    optimizer.load_state_dict(right)
    return optimizer


def names_loaded(optimizer: Any, build: Callable[..., Any]) -> Any:
    """The names of Parameters are those of the state that is loaded; a state without names leaves them."""
    groups = [group["params"] for group in optimizer.param_groups]

    def make(word: str) -> Any:
        return build([{"params": [(f"{word}{g}.{k}", p) for k, p in enumerate(ps)]} for g, ps in enumerate(groups)])

    try:
        fresh = make("new")
    except TypeError:  # before torch 2.6
        return optimizer
    for state in (make("old").state_dict(), optimizer.state_dict()):
        fresh.load_state_dict(state)
        names = [group["param_names"] for group in fresh.param_groups]
        if names != [[f"old{g}.{k}" for k in range(len(ps))] for g, ps in enumerate(groups)]:
            raise AssertionError(f"the names of the Parameters are {names}, those of the state began with old")
    return optimizer


def shown(optimizer: Any, build: Callable[..., Any]) -> Any:
    repr(optimizer), optimizer.state_dict(), dict(optimizer.state), optimizer.__getstate__()
    return optimizer


def ruled_twice(optimizer: Any, build: Callable[..., Any]) -> Any:
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * 2
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] / 2
    return optimizer


def raises(kinds: tuple[type[Exception], ...], call: Callable[..., Any], *arguments: Any) -> None:
    try:
        call(*arguments)
    except kinds:
        return
    raise AssertionError(f"{call} took {arguments}")


def refused(optimizer: Any, build: Callable[..., Any]) -> Any:
    state, members = optimizer.state_dict(), optimizer.param_groups[0]["params"]
    longer = [{**group, "params": [*group["params"], 99]} for group in state["param_groups"]]
    for groups in (state["param_groups"] * 2, longer):  # of another size
        raises((ValueError,), optimizer.load_state_dict, {"state": {}, "param_groups": groups})
    product = members[0].detach().requires_grad_() * 2
    wrong: list[Any] = [members, set(), [1.0], [product]]
    for group in (*({"params": each} for each in wrong), members[:1]):
        raises((ValueError, TypeError), optimizer.add_param_group, group)
    for lone in members:  # no iterable
        raises((TypeError,), build, lone)
    raises((ValueError,), build, [])
    return optimizer


def beside_empty(optimizer: Any, build: Callable[..., Any]) -> Any:
    """Sparse gradients without a token move nothing, and keep nothing behind them from moving."""
    if type(optimizer) is not torch.optim.SparseAdam:
        return optimizer

    def run(*gradients: Tensor) -> list[list[float]]:
        members = [torch.nn.Parameter(torch.ones(3, 2)) for _ in gradients]
        other = build(members)
        for _ in range(2):
            for member, gradient in zip(members, gradients, strict=True):
                member.grad = gradient.clone()
            other.step()
        return [member.detach().reshape(-1).tolist() for member in members]

    empty = torch.sparse_coo_tensor(torch.zeros(1, 0, dtype=torch.int64), torch.zeros(0, 2), (3, 2))
    full = torch.sparse_coo_tensor(torch.tensor([[0, 2, 0]]), torch.ones(3, 2), (3, 2))
    resting, alone = [1.0] * 6, run(full)[0]
    for gradients in ((empty, full), (full, empty, full)):
        found = run(*gradients)
        wanted = [resting if gradient is empty else alone for gradient in gradients]
        if found != wanted or alone == resting:
            raise AssertionError(f"beside an empty gradient parameters become {found}, alone {wanted}")
    return optimizer


BREAKS: dict[str, Break] = named(
    {
        "nothing": lambda optimizer, build: optimizer,
        "reloaded": lambda optimizer, build: loaded(optimizer, optimizer.state_dict(), build),
        "saved": lambda optimizer, build: loaded(optimizer, filed(optimizer.state_dict(), weights_only=True), build),
        "reloaded_through_hooks": reloaded_through_hooks,
        "differentiated": lambda optimizer, build: differentiate(optimizer, build, False),
        "differentiated_wholly": lambda optimizer, build: differentiate(optimizer, build, True),
        "into_itself": into_itself,
        "counted_far": counted_far,
        "named": names_loaded,
        "shown": shown,
        "ruled_twice": ruled_twice,
        "refused": refused,
        "beside_empty": beside_empty,
    },
    prefix="interrupt_",
)
