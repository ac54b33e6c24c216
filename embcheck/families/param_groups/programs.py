"""Programs: several parameters with one optimizer, whose state may be saved and loaded, and each with one of its own."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.param_groups.gradient_layouts import Tensor, lying_as
from embcheck.families.tie_preservation.operations import stored
from embcheck.families.tied_training.programs import marks
from embcheck.families.tied_training.training_steps import loaded, restored

Function = Callable[..., Any]


def accompany(
    optimizer: tuple[str, dict[str, Any]],
    groups: tuple[tuple[tuple[int, ...], dict[str, Any], int], ...],
    given: tuple[tuple[bool, ...], ...],
    frozen: tuple[int, ...],
    held: bool,
    gradient: Function,
    interrupt: tuple[Function, int, dict[str, Any]],
    closure: bool,
    setting: tuple[Function, int],
    compare: bool,
    **fed: Tensor,
) -> dict[str, Any]:
    """``groups`` are members, options of their own, and the step from which on they are stepped; ``interrupt`` is what comes
    between, before which step, and the flags until then; ``setting`` applies from some step on; ``compare``: whether each member
    is stepped by an optimizer of its own, too."""
    kind, flags = optimizer
    between, at, before = interrupt
    region, since = setting

    def build(members: Any, **changes: Any) -> Any:
        return getattr(torch.optim, kind)(members, **{**flags, **changes})

    members = [torch.nn.Parameter(fed[f"weight{m}"], requires_grad=m not in frozen) for m in range(len(given[0]))]
    starts = [p.detach().clone() for p in members]
    listed = [{"params": [members[m] for m in names], **own} for names, own, joins in groups if not joins]
    values = [list[Tensor]() for _ in members]
    with contextlib.nullcontext() if since else region():
        stepped = build(listed, **before)
    kept = all(p.data_ptr() == fed[f"weight{m}"].data_ptr() for m, p in enumerate(members))
    notes: dict[str, Any] = {"kept": kept, "moved": True, "returned": True, "modes": [], "hooks": []}
    for k, has in enumerate(given):
        if k == 1:
            for names, own, joins in groups:
                late = [members[m] for m in names]
                if joins:
                    stepped.add_param_group({**own, "params": late if len(late) > 1 else late[0]})
        if k == at:
            stepped = between(stepped, build)
        clear(stepped, members, held, k, notes)
        for m, p in enumerate(members):
            fresh = gradient(p, fed[f"gradient{m}"][k]) if has[m] else None
            if fresh is not None and p.grad is not None:
                p.grad.add_(fresh)
            elif fresh is not None or held:
                p.grad = fresh
        with contextlib.nullcontext() if k < since else region():
            step(stepped, members, closure, notes)
        for m, p in enumerate(members):
            values[m].append(numbers(p))
    seen: dict[str, Any] = {f"values{m}": torch.stack(steps) for m, steps in enumerate(values)}
    seen |= notes | settled(stepped, members)
    if compare:
        seen["derived_hooks"] = hooks_of_a_derived_optimizer()
    for names, own, joins in groups if compare else ():
        for m in names:
            gradients = [fed[f"gradient{m}"][k] if has[m] else None for k, has in enumerate(given)]
            start = torch.nn.Parameter(starts[m], members[m].requires_grad)
            seen[f"alone{m}"] = alone(build, own, fed[f"weight{m}"], start, gradients, joins, gradient)
    return seen


def of_dtype(dtype: torch.dtype) -> contextlib.ExitStack:
    """Makes it torch's default dtype, until the region ends."""
    region = contextlib.ExitStack()
    region.callback(torch.set_default_dtype, torch.get_default_dtype())
    torch.set_default_dtype(dtype)
    return region


SETTINGS: dict[str, Function] = named(
    {
        "nothing": lambda: contextlib.nullcontext(),
        "meta": lambda: torch.device("meta"),
        "double": lambda: of_dtype(torch.float64),
        "half": lambda: of_dtype(torch.float16),
    },
    prefix="default_",
)


def clear(optimizer: Any, members: list[Any], held: bool, k: int, notes: dict[str, Any]) -> None:
    """Clears the gradients; those that are ``held`` must be the same tensors afterwards, of zeros and without a graph."""
    if not held:
        optimizer.zero_grad()
        return
    for p in members:
        if k == 1 and p.grad is not None:
            # As create_graph leaves it, of infinite numbers.
            p.grad = p.grad * torch.full((), torch.inf, dtype=p.dtype, requires_grad=True)
    standing = [p.grad for p in members]
    optimizer.zero_grad(set_to_none=False)
    notes["kept"] &= all(
        p.grad is g and (g is None or not (g.any() or g.requires_grad or g.grad_fn is not None))
        for p, g in zip(members, standing, strict=True)
    )


def step(optimizer: Any, members: list[Any], closure: bool, notes: dict[str, Any]) -> None:
    """Takes a step and notes what it called, returned and changed beside the values."""
    before = [p.detach().clone() for p in members]
    grads = [(p.grad, None if p.grad is None else p.grad.clone()) for p in members]
    marked = marks(members)
    versions = [p._version for p in members]
    loss = torch.ones(()) if closure else None

    def compute() -> Any:
        notes["modes"] += [torch.is_grad_enabled()]
        notes["modes"] += [all(torch.equal(p, b) for p, b in zip(members, before, strict=True))]
        return loss

    with hooked(optimizer, notes["hooks"]), torch.no_grad():
        result = optimizer.step(compute) if closure else optimizer.step()
    notes["returned"] &= result is loss
    notes["kept"] &= marks(members) == marked
    for p, (grad, copy), version, old in zip(members, grads, versions, before, strict=True):
        stands = grad is None or copy is None or torch.equal(grad.to_dense(), copy.to_dense())
        notes["kept"] &= p.grad is grad and stands
        notes["moved"] &= p._version > version or torch.equal(p.detach(), old)


def hooked(optimizer: Any, order: list[str]) -> contextlib.ExitStack:
    """Registers hooks of a step, of this optimizer and of all, that note in which order they are called, until the region ends."""

    def note(name: str) -> Function:
        return lambda stepped, args, kwargs: order.append(name) if stepped is optimizer else None

    import torch.optim.optimizer as of_all  # which torch.optim does not show as its attribute

    region = contextlib.ExitStack()
    region.enter_context(optimizer.register_step_post_hook(note("after")))
    region.enter_context(of_all.register_optimizer_step_post_hook(note("after all")))
    region.enter_context(optimizer.register_step_pre_hook(note("before")))
    region.enter_context(of_all.register_optimizer_step_pre_hook(note("before all")))
    return region


def hooks_of_a_derived_optimizer() -> list[str]:
    """In which order they are called of an optimizer that is derived from torch.optim.Optimizer; "step" is its own step, and
    "closure" an argument that a hook before the step adds, as a hook after the step is told."""
    order: list[str] = []

    class Descent(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> Any:
            order.append("step")

    optimizer = Descent([torch.nn.Parameter(torch.ones(1))], {})
    with hooked(optimizer, order):
        optimizer.register_step_pre_hook(lambda stepped, args, kwargs: (args, {"closure": None}))
        optimizer.register_step_post_hook(lambda stepped, args, kwargs: order.extend(kwargs))
        optimizer.step()
    return order


def numbers(p: Tensor) -> Tensor:
    """A copy; of complex numbers, of their parts."""
    found = p.detach().clone()
    return torch.view_as_real(found) if found.is_complex() else found


def settled(optimizer: Any, members: list[Any]) -> dict[str, Any]:
    """What an optimizer holds at last: its groups' options, which members have a state, and whose memory it is."""
    tensors = [
        (m, name, value)
        for m, p in enumerate(members)
        for name, value in optimizer.state.get(p, {}).items()
        if isinstance(value, Tensor) and value.numel()
    ]
    taken = [p.data_ptr() for p in members if p.numel()]
    dense = [p.grad for p in members if p.grad is not None and not p.grad.is_sparse]
    taken += [gradient.data_ptr() for gradient in dense if gradient.numel()]
    pointers = [value.data_ptr() for _, _, value in tensors if not value.is_meta]
    packs = [optimizer.state_dict() for _ in range(4)]
    packed = packs[-1]
    alike = all(
        each["param_groups"] == packed["param_groups"] and list(each["state"]) == list(packed["state"])
        for each in packs
    )
    order = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        "options": [{n: v for n, v in group.items() if n != "params"} for group in optimizer.param_groups],
        "packed_options": [{n: v for n, v in group.items() if n != "params"} for group in packed["param_groups"]],
        "packed_ids": [group["params"] for group in packed["param_groups"]],
        "order": [next(m for m, p in enumerate(members) if p is member) for member in order],
        "packed_state": sorted(packed["state"]),
        "packed_itself": alike
        and all(
            each["state"][place][name] is value
            for each in packs
            for place, p in enumerate(order)
            for name, value in optimizer.state.get(p, {}).items()
        ),
        "stateful": [m for m, p in enumerate(members) if p in optimizer.state],
        "apart": len(set(pointers)) == len(pointers) and not set(pointers) & set(taken),
        "attached": any(value.requires_grad or value.grad_fn is not None for _, _, value in tensors),
        "steps": [float(value) for _, name, value in tensors if name == "step" and not value.is_meta],
        "devices": sorted({name for m, name, value in tensors if value.device != members[m].device}),
    }


def alone(
    build: Function,
    own: dict[str, Any],
    like: Tensor,
    start: Tensor,
    gradients: list[Tensor | None],
    joins: int,
    gradient: Function,
) -> Tensor:
    # In the same place of its memory: how a kernel sums depends on the alignment.
    p = torch.nn.Parameter(lying_as(like).copy_(start.detach()), start.requires_grad)
    optimizer = build([{"params": [p], **own}])
    steps = []
    for k, values in enumerate(gradients):
        if k >= joins:
            p.grad = None if values is None else gradient(p, values)
            optimizer.step()
        steps.append(numbers(p))
    return torch.stack(steps)


#: Options with which a first step from a gradient of 1 is exact, and its derivatives by that and, where there is one, by the
#: rate: −lr and −1 of SGD; where g is divided by c|g| + eps, −lr·eps/(c + eps)² and −1/(c + eps), c² being the share 1 − alpha
#: that the average of RMSprop takes of g²; of Adadelta, whose step is lr·g/2 / √(3/4·g² + 1/4), −lr/8.
FIRST_STEPS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "SGD": ({"momentum": 0.0}, [-0.5, -1.0]),
    "Adam": ({"betas": (0.5, 0.75), "eps": 1.0}, [-0.125, -0.5]),
    "AdamW": ({"betas": (0.5, 0.75), "eps": 1.0, "weight_decay": 0.0}, [-0.125, -0.5]),
    "RMSprop": ({"alpha": 0.75, "eps": 0.5}, [-0.25]),
    "Adagrad": ({"eps": 1.0}, [-0.125]),
    "Adamax": ({"betas": (0.5, 0.75), "eps": 1.0}, [-0.125]),
    "Adadelta": ({"rho": 0.25, "eps": 0.25}, [-0.0625]),
}


def differentiate_once(kind: Any) -> None:
    """The first step has its derivatives by the gradient and by a rate that is a tensor."""
    flags, wanted = FIRST_STEPS[kind.__name__]
    start, pull = (torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    for lr, inputs in ((0.5, [pull]), (rate, [pull, rate]))[: len(wanted)]:
        weight = start * 1
        weight.grad = pull * 1
        try:
            kind([weight], lr=lr, differentiable=True, **flags).step()
        except TypeError as error:
            if lr is rate and "alpha" in str(error):
                return  # this release multiplies by numbers only
            raise
        got = [float(each) for each in torch.autograd.grad(weight.sum(), inputs)]
        if got != wanted[: len(inputs)]:
            raise AssertionError(f"the derivatives of a step are {got}, expected {wanted}")


def differentiate(optimizer: Any, build: Function) -> Any:
    """Three differentiable steps have the derivative by which they move."""
    if type(optimizer).__name__ in FIRST_STEPS:
        differentiate_once(type(optimizer))
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
    got, wanted = [float(found[0]), *(float(x) for x in found[1])], [float(x) for x in moved]
    if wanted != got:
        raise AssertionError(f"the derivative of three steps is {got}, but they move by {wanted}")
    return optimizer


def reload(optimizer: Any, build: Function) -> Any:
    """An optimizer, or in turn a new one, loads four states: its own with three, two and one thirds added to each tensor, then
    its own."""
    own, parity = optimizer.state_dict(), len(optimizer.state) % 2

    def raised(value: Any, turn: int) -> Any:
        if not (turn and isinstance(value, Tensor)) or value.is_sparse:
            return value
        return value.to(torch.promote_types(value.dtype, torch.float64)) + turn / 3

    for turn in (3, 2, 1, 0):
        entries = {p: {name: raised(value, turn) for name, value in each.items()} for p, each in own["state"].items()}
        state = {**own, "state": entries}
        optimizer = restored(optimizer, state) if turn % 2 == parity else loaded(optimizer, state, build)
    return optimizer


def take_path(optimizer: Any, build: Function) -> Any:
    """The same optimizer goes on with the foreach and fused flags of a new one."""
    defaults = build([torch.nn.Parameter(torch.ones(1, 1))]).defaults
    for group in optimizer.param_groups:
        group.update({name: defaults[name] for name in ("foreach", "fused") if name in defaults})
    return optimizer


#: What comes before a step, by default the second: ``(optimizer, build) -> optimizer``.
BREAKS: dict[str, Function] = named(
    {
        "nothing": lambda optimizer, build: optimizer,
        "reloaded": lambda optimizer, build: loaded(optimizer, optimizer.state_dict(), build),
        "saved": lambda optimizer, build: loaded(optimizer, stored(optimizer.state_dict(), weights_only=True), build),
        "differentiated_wholly": differentiate,
        "path": take_path,
        "itself": reload,
    },
    prefix="interrupt_",
)
