"""Programs: losses that are scaled, lest small gradients vanish in half precision."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named

Tensor = torch.Tensor

#: In which groups and optimizers a parameter stands beside the weight, whose gradients are finite.
BESIDE: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (("weight",),),
    "before": (("other", "weight"),),
    "ahead": (("other",), ("weight",)),
    "behind": (("weight", "other"),),
    "followed": (("weight",), ("other",)),
}


def scaled(
    optimizer: tuple[str, dict[str, Any]],
    how: dict[str, Any],
    parts: tuple[tuple[str, ...], ...],
    steps: tuple[bool, ...],
    exceed: Callable[[Tensor], Tensor],
    unscaled_first: bool,
    sparse: bool,
    filled: bool,
    carried: str,
    dtypes: tuple[str, str],
) -> dict[str, Any]:
    """``steps`` are whether gradients are infinite; ``how`` makes the scaler; ``dtypes`` are those of the weight and the other."""
    unit = 1 + 2.0**-40 if dtypes[0] == "float64" else 1.0  # which float32 does not hold
    eights = [torch.full((2, 1), 8.0, dtype=getattr(torch, dtype)) for dtype in dtypes]
    weight, other = map(torch.nn.Parameter, eights)
    eight, members = weight.detach().clone(), {"weight": weight, "other": other}
    optimizers = [
        getattr(torch.optim, optimizer[0])([{"params": [members[name]]} for name in part], **optimizer[1])
        for part in parts
    ]
    scaler = torch.amp.GradScaler(eight.device.type, **how)
    log: dict[str, list[Any]] = {"weights": [], "others": [], "scales": [], "losses": []}
    taken: list[str] = []
    unscaled = multiplied = True
    due = unit * torch.tensor([[1.0], [2.0]], dtype=eight.dtype)
    for step, bad in enumerate(steps):
        if carried and step % 2 == 0:
            scaler = carry(scaler, carried)
        multiplied = multiplied and multiplies(scaler, unit * eight)
        loss, larger = losses_of(weight, optimizers, scaler, exceed if bad else None, sparse, unit)
        # Of a loss that is no number, or whose scaled one can't be, nothing is told.
        largest = torch.finfo(larger.dtype).max
        told_by = not bad and bool(loss.isfinite()) and abs(float(loss) * scaler.get_scale()) <= largest
        log["losses"].append(float(larger) / (float(loss) * scaler.get_scale()) if told_by else 1.0)
        if sum(parts, ()) != ("weight",):
            larger = larger + scaler.scale([other.sum()])[0]
        larger.backward()
        last = step == len(steps) - 1  # what is refused counts as a call, too
        # Fused kernels take a gradient that lies otherwise than its parameter for one that does not.
        beside = [roomy(p, spread=step % 2 == 1 and not filled) for p in members.values()]
        for each in optimizers if unscaled_first else ():
            scaler.unscale_(each)
            if last and accepted(scaler.unscale_, each):
                taken.append("unscale_ after unscale_")
        if unscaled_first:
            unscaled = unscaled and (bad or weight.grad is None or torch.equal(weight.grad.to_dense(), due))
            unscaled = unscaled and (other.grad is None or bool((other.grad == 1).all()))
            unscaled = unscaled and not any(bool(rest.any()) for rest in beside)
        for each in optimizers:
            stepped(scaler, each, filled)
            calls = (scaler.unscale_, scaler.step) if last else ()
            taken += [f"{call.__name__} after step" for call in calls if accepted(call, each)]
        scaler.update()
        log["weights"].append(weight.detach().reshape(2).clone())
        log["others"].append(other.detach().reshape(2).clone())
        log["scales"].append(scaler.get_scale())
    names = ("growth_factor", "backoff_factor", "growth_interval")
    states = {p: state for each in optimizers for p, state in each.state.items()}
    return {
        "counts": [float(states.get(p, {}).get("step", 0.0)) for p in members.values()],
        "weights": torch.stack(log["weights"]),
        "others": torch.stack(log["others"]),
        "scales": log["scales"],
        "losses": log["losses"],
        "unscaled": unscaled,
        "multiplied": multiplied,
        "factors": [getattr(scaler, f"get_{name}")() for name in names],
        "states": [scaler.state_dict() for _ in range(4)],
        "taken": taken,
    }


def roomy(p: Tensor, spread: bool) -> Tensor:
    """Zeros that lie in memory behind a gradient, or between its rows if it is ``spread``; one that is dense is moved there."""
    if p.grad is None or p.grad.is_sparse:
        return torch.zeros(0)
    room = torch.zeros(2, *p.shape, dtype=p.dtype)
    room = room.transpose(0, 1).contiguous().transpose(0, 1) if spread else room
    p.grad = room[0].copy_(p.grad)
    return room[1]


def losses_of(
    weight: Tensor, optimizers: list[Any], scaler: Any, exceed: Any, sparse: bool, unit: float
) -> tuple[Tensor, Any]:
    """A loss whose gradients are one and two, or are made to exceed, and the scaled one."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    # A row that comes twice has a gradient of one in all.
    shares = unit * torch.tensor([[0.25], [2.0], [0.75]], dtype=weight.dtype)
    due = unit * torch.tensor([[1.0], [2.0]], dtype=weight.dtype)
    found = torch.nn.functional.embedding(torch.tensor([0, 1, 0]), weight, sparse=sparse)
    loss = (exceed(found) if exceed is not None else found * shares if sparse else weight * due).sum()
    return loss, scaler.scale(loss)


def multiplies(scaler: Any, number: Tensor) -> bool:
    """Whether a matrix is scaled, by itself and in a list, and its gradient; contiguous ones give contiguous ones."""
    matrix = (
        number[:1] * torch.tensor([[1.0, 2.0, 4.0], [0.5, 3.0, 5.0 + 2.0**-12]], dtype=number.dtype)
    ).requires_grad_()
    others = [matrix[0], -2 * matrix]
    found = [scaler.scale(matrix), *scaler.scale(others)]
    (gradient,) = torch.autograd.grad(sum(each.sum() for each in found), matrix)
    found += scaler.scale(tuple(others))
    due = [each * scaler.get_scale() for each in (matrix, *others, *others)]
    times = torch.tensor([[0.0], [-1.0]], dtype=number.dtype).expand(2, 3)  # 1 - 2, and 1 more of the first row
    alike = all(map(torch.equal, found, due)) and all(each.is_contiguous() for each in found)
    return alike and torch.equal(gradient, scaler.get_scale() * times)


def stepped(scaler: Any, optimizer: Any, filled: bool) -> None:
    settings = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(settings or filled)  # which fills what is left empty with NaN
        scaler.step(optimizer)
    finally:
        torch.use_deterministic_algorithms(settings)


#: By what the rows of a table, the first of which comes twice, get infinite gradients.
EXCESSES: dict[str, Callable[[Tensor], Tensor]] = named(
    {
        "all": lambda found: found * float("inf"),
        "undefined": lambda found: found * float("nan"),
        "one": lambda found: found * torch.tensor([[1.0], [float("inf")], [1.0]]),
        # Twice half of what float32 does not reach.
        "sum": lambda found: found * 2.0**127,
    },
    prefix="exceed_",
)


def accepted(call: Callable[..., Any], optimizer: Any) -> bool:
    try:
        call(optimizer)
    except (RuntimeError, ValueError):
        return False
    return True


def graded(dtype: torch.dtype) -> Any:
    """An optimizer of a parameter that has a gradient."""
    p = torch.nn.Parameter(torch.ones(2, dtype=dtype))
    p.grad = torch.ones_like(p)
    return torch.optim.SGD([p])


def idle(number: Tensor) -> bool:
    """Whether a scaler that is not enabled scales, skips and keeps nothing."""
    p = torch.nn.Parameter(number.clone())
    optimizer, scaler = torch.optim.SGD([p], lr=1.0), torch.amp.GradScaler(number.device.type, enabled=False)
    p.grad = number * float("inf")
    same = scaler.scale(number) is number
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    scaler.load_state_dict({})
    same = same and not scaler.is_enabled()
    return same and bool(p.isinf().all()) and (scaler.get_scale(), scaler.state_dict()) == (1.0, {})


def returned(device: str) -> list[Any]:
    """What a scaler's steps give: what the optimizer's step does of the same arguments, and nothing where that is left out."""

    class Telling(torch.optim.SGD):
        def step(self, closure: Any = None, times: int = 1) -> Any:
            super().step(closure)
            return 5 * times

    p = torch.nn.Parameter(torch.ones(1))
    optimizer, scaler, found = Telling([p], lr=1.0), torch.amp.GradScaler(device), []
    for grad in (1.0, float("inf")):
        p.grad = scaler.scale(torch.full((1,), grad))
        found.append(scaler.step(optimizer, times=2))
        scaler.update()
    return found


def carry(scaler: Any, carried: str) -> Any:
    """A scaler that goes on where this one is."""
    import pickle

    if carried == "set":  # to other values, and back
        kept = scaler.get_scale()
        scaler.scale(torch.ones(1))  # before which its scale is no tensor
        for name in ("growth_factor", "backoff_factor", "growth_interval"):
            put, get = (getattr(scaler, f"{do}_{name}") for do in ("set", "get"))
            for each in (get() * 3, get()):
                put(each)
                assert get() == each, f"{name} is not what it was set to"
        for scale in (4 * kept, torch.tensor(kept)):
            scaler.update(scale)
            assert scaler.get_scale() == scale, "the scale is not what update() was given"
        assert idle(torch.full((2,), 8.0)), "a scaler that is not enabled did something"
        assert not accepted(scaler.unscale_, graded(torch.float16)), "gradients in half precision were unscaled"
        closed: Any = functools.partial(scaler.step, closure=lambda: None)
        assert not accepted(closed, graded(torch.float32)), "a closure was taken"
        told = returned(torch.empty(0).device.type)
        assert told == [10, None], f"steps of which the second is left out give {told}, where the optimizer's gives 10"
        return scaler

    if carried == "copied":
        return pickle.loads(pickle.dumps(scaler))
    how: dict[str, Any] = {"growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 7}
    fresh = torch.amp.GradScaler(torch.empty(0).device.type, init_scale=2.0, **how)
    state = scaler.state_dict()
    if not state["_growth_tracker"]:  # else one that was not used yet goes on counting
        other = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
        fresh.scale(other.param_groups[0]["params"][0].sum()).backward()
        fresh.step(other)
        fresh.update()  # it has counted a step of its own
    fresh.load_state_dict(state)
    return fresh
