"""Faults of the paths of torch.optim: a flag, a history or a memory layout each, mostly of two or three at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Fault, Witness, add, patched
from embcheck.faults.kernels import Tensor
from embcheck.faults.optimizer_sgd import after, altered, apart, disagree, fused_apart, module_of
from embcheck.faults.parameters import Parameter, table

_adam, _many_adam = "_single_tensor_adam", "_multi_tensor_adam"


def double(
    flag: str, when: Callable[[dict[str, Any]], bool] = lambda flags: True
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Twice a hyperparameter in a corner."""
    return lambda flags: {flag: 2 * flags[flag]} if when(flags) else {}


def without(
    flag: str, when: Callable[[dict[str, Any]], bool] = lambda flags: True
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A flag taken for zero or False in a corner."""
    return lambda flags: {flag: type(flags[flag])(0)} if when(flags) else {}


def differ(kind: str, one: dict[str, Any], other: dict[str, Any], steps: int = 3, **flags: Any) -> Witness:
    """Whether two ways of asking for the same steps disagree."""
    return lambda: disagree(after(kind, steps, **flags, **one), after(kind, steps, **flags, **other))


altered("sgd_tensor_rate_is_squared", "Plain SGD squares a learning rate that is a tensor.", "sgd", "_single_tensor_sgd",
        lambda f: {"lr": f["lr"] ** 2} if isinstance(f["lr"], torch.Tensor) else {},
        differ("SGD", {"lr": torch.tensor(0.5)}, {"lr": 0.5}, foreach=False))  # fmt: skip
altered("adam_tensor_rate_is_an_integer", "Plain Adam truncates a learning rate that is a tensor.", "adam", _adam,
        lambda f: {"lr": f["lr"].trunc()} if isinstance(f["lr"], torch.Tensor) else {},
        differ("Adam", {"lr": torch.tensor(0.5)}, {"lr": 0.5}, foreach=False))  # fmt: skip
altered("sgd_foreach_forgets_dampening_with_decay", "foreach SGD forgets dampening beside weight decay.", "sgd",
        "_multi_tensor_sgd", without("dampening", lambda f: f["weight_decay"] != 0),
        apart("SGD", lr=0.5, momentum=0.5, dampening=0.5, weight_decay=0.25), "company")  # fmt: skip
altered("sgd_fused_forgets_nesterov", "Fused SGD forgets nesterov where it maximizes.", "sgd", "_fused_sgd",
        without("nesterov", lambda f: f["maximize"]),
        fused_apart("SGD", lr=0.5, momentum=0.5, nesterov=True, maximize=True))  # fmt: skip
altered("adam_fused_forgets_decay", "Fused Adam forgets weight decay beside amsgrad.", "adam", "_fused_adam",
        without("weight_decay", lambda f: f["amsgrad"]),
        fused_apart("Adam", lr=0.5, betas=(0.5, 0.75), amsgrad=True, weight_decay=0.25))  # fmt: skip
altered("adam_fused_forgets_maximize", "Fused Adam minimizes beside amsgrad.", "adam", "_fused_adam",
        without("maximize", lambda f: f["amsgrad"]),
        fused_apart("Adam", lr=0.5, amsgrad=True, maximize=True))  # fmt: skip
altered("adamw_couples_when_maximizing", "Plain AdamW couples weight decay where it maximizes.", "adam", _adam,
        without("decoupled_weight_decay", lambda f: f["maximize"]),
        apart("AdamW", lr=0.5, weight_decay=0.5, maximize=True))  # fmt: skip
altered("adam_zero_beta", "foreach Adam takes beta1 = 0 for 0.9.", "adam", _many_adam,
        lambda f: {"beta1": f["beta1"] or 0.9}, apart("Adam", lr=0.5, betas=(0.0, 0.75)))  # fmt: skip
altered("adam_plain_zero_beta2", "Plain Adam takes beta2 = 0 for 0.999.", "adam", _adam,
        lambda f: {"beta2": f["beta2"] or 0.999}, apart("Adam", lr=0.5, betas=(0.5, 0.0)))  # fmt: skip
altered("adam_zero_eps", "Plain Adam takes eps = 0 for 1e-2.", "adam", _adam,
        lambda f: {"eps": f["eps"] or 1e-2},
        lambda: disagree(shrinking("Adam", eps=0.0), shrinking("Adam", True, eps=0.0)), "life")  # fmt: skip
altered("rmsprop_foreach_forgets_maximize", "foreach RMSprop minimizes beside momentum.", "rmsprop", "_multi_tensor_rmsprop",
        without("maximize", lambda f: f["momentum"] != 0),
        apart("RMSprop", lr=0.5, momentum=0.5, maximize=True), "company")  # fmt: skip
altered("rmsprop_forgets_decay_centered", "foreach RMSprop forgets weight decay where it is centered.", "rmsprop",
        "_multi_tensor_rmsprop", without("weight_decay", lambda f: f["centered"]),
        apart("RMSprop", lr=0.5, alpha=0.5, centered=True, weight_decay=0.5))  # fmt: skip
altered("adagrad_foreach_forgets_maximize", "foreach Adagrad minimizes beside lr_decay.", "adagrad", "_multi_tensor_adagrad",
        without("maximize", lambda f: f["lr_decay"] != 0), apart("Adagrad", lr=0.5, lr_decay=0.5, maximize=True))  # fmt: skip
altered("adagrad_eps", "foreach Adagrad doubles eps.", "adagrad", "_multi_tensor_adagrad", double("eps"),
        apart("Adagrad", lr=0.5, eps=0.5))  # fmt: skip
altered("adagrad_fused_forgets_rate_decay", "Fused Adagrad forgets lr_decay.", "adagrad", "_fused_adagrad",
        without("lr_decay"), fused_apart("Adagrad", lr=0.5, lr_decay=0.5))  # fmt: skip
altered("adadelta_forgets_maximize", "Plain Adadelta minimizes beside weight decay.", "adadelta", "_single_tensor_adadelta",
        without("maximize", lambda f: f["weight_decay"] != 0),
        apart("Adadelta", lr=1.0, weight_decay=0.5, maximize=True))  # fmt: skip
altered("adadelta_eps", "Plain Adadelta doubles eps.", "adadelta", "_single_tensor_adadelta", double("eps"),
        apart("Adadelta", lr=1.0, eps=0.25))  # fmt: skip
altered("adamax_beta2", "Plain Adamax takes beta1 for beta2 where it maximizes.", "adamax", "_single_tensor_adamax",
        lambda f: {"beta2": f["beta1"]} if f["maximize"] else {},
        lambda: disagree(*(shrinking("Adamax", many, betas=(0.25, 0.75), maximize=True) for many in (False, True))))  # fmt: skip
altered("adamax_eps", "foreach Adamax doubles eps.", "adamax", "_multi_tensor_adamax", double("eps"),
        apart("Adamax", lr=0.5, eps=0.5))  # fmt: skip
altered("nadam_momentum_decay", "foreach NAdam forgets momentum_decay.", "nadam", "_multi_tensor_nadam",
        without("momentum_decay"), apart("NAdam", lr=0.5, betas=(0.5, 0.75), momentum_decay=0.5))  # fmt: skip
altered("nadam_forgets_maximize", "Plain NAdam minimizes with decoupled decay.", "nadam", "_single_tensor_nadam",
        without("maximize", lambda f: f["decoupled_weight_decay"]),
        apart("NAdam", lr=0.5, weight_decay=0.25, decoupled_weight_decay=True, maximize=True))  # fmt: skip
altered("radam_couples_decay", "Plain RAdam couples decoupled decay where it maximizes.", "radam", "_single_tensor_radam",
        without("decoupled_weight_decay", lambda f: f["maximize"]),
        apart("RAdam", lr=0.5, weight_decay=0.5, decoupled_weight_decay=True, maximize=True))  # fmt: skip
altered("asgd_forgets_decay", "Plain ASGD forgets weight decay where it maximizes.", "asgd", "_single_tensor_asgd",
        without("weight_decay", lambda f: f["maximize"]), apart("ASGD", lr=0.5, weight_decay=0.5, maximize=True))  # fmt: skip
altered("asgd_alpha", "Plain ASGD takes alpha for one.", "asgd", "_single_tensor_asgd", lambda f: {"alpha": 1.0},
        lambda: asgd_rates(False) != asgd_rates(True))  # fmt: skip
altered("rprop_maximize", "foreach Rprop minimizes.", "rprop", "_multi_tensor_rprop", without("maximize"),
        apart("Rprop", lr=0.5, maximize=True))  # fmt: skip
altered("rprop_etas", "foreach Rprop's etaplus is one.", "rprop", "_multi_tensor_rprop", lambda f: {"etaplus": 1.0},
        apart("Rprop", lr=0.5, etas=(0.5, 2.0)))  # fmt: skip
altered("rprop_smallest_step", "Plain Rprop has no smallest step.", "rprop", "_single_tensor_rprop",
        lambda f: {"step_size_min": 0.0}, lambda: disagree(alternating(False), alternating(True)))  # fmt: skip


def shrinking(kind: str, foreach: bool = False, **flags: Any) -> Tensor:
    """A table after steps with gradients that halve."""
    weight = Parameter(table())
    optimizer = getattr(torch.optim, kind)([weight], lr=0.5, foreach=foreach, **flags)
    for step in range(3):
        weight.grad = torch.full_like(weight, 2.0**-step)
        optimizer.step()
    return weight.detach()


def asgd_rates(foreach: bool) -> list[float]:
    """The learning rates that ASGD keeps."""
    weight = Parameter(table())
    optimizer = torch.optim.ASGD([weight], lr=0.5, lambd=0.5, alpha=0.5, foreach=foreach)
    rates = []
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        rates.append(round(float(optimizer.state[weight]["eta"]), 5))
    return rates


def alternating(foreach: bool) -> Tensor:
    """A table after steps of Rprop with gradients of alternating sign."""
    weight = Parameter(table())
    optimizer = torch.optim.Rprop([weight], lr=1.0, etas=(0.25, 2.0), step_sizes=(1.0, 2.0), foreach=foreach)
    for sign in (1.0, -1.0, 1.0, -1.0):
        weight.grad = torch.full_like(weight, sign)
        optimizer.step()
    return weight.detach()


# -- what a path does to its parameters, states and gradients ------------------------------------------------------


def path(name: str, sentence: str, kind: str, function: str, change: Callable[..., Any], witness: Witness,
         family: str = "company") -> None:  # fmt: skip
    """A fault of one path: ``change(original, params, grads, *states, **flags)``."""
    module = module_of(kind)

    def plant() -> Any:
        original = getattr(module, function)
        return patched(module, **{function: lambda *given, **flags: change(original, *given, **flags)})

    add(Fault(name, family, sentence, plant, witness, applies=lambda: hasattr(module, function)))


def only(when: Callable[[Tensor], bool]) -> Callable[..., Any]:
    """A path that leaves alone the parameters of a kind, but counts their steps."""

    def change(original: Callable[..., Any], params: Any, *rest: Any, **flags: Any) -> Any:
        before = [p.detach().clone() for p in params]
        result = original(params, *rest, **flags)
        with torch.no_grad():
            for p, old in zip(params, before, strict=True):
                if not when(p):
                    p.copy_(old)
        return result

    return change


def stays(make: Callable[[], Tensor], kind: str, steps: int = 1, **flags: Any) -> Witness:
    """Whether a parameter stays where it is."""

    def witness() -> bool:
        weight = Parameter(make())
        before = weight.detach().clone()
        optimizer = getattr(torch.optim, kind)([weight], **flags)
        for _ in range(steps):
            weight.grad = torch.ones_like(weight)
            before = weight.detach().clone()
            optimizer.step()
        return torch.equal(weight.detach(), before)

    return witness


path("adam_skips_transposed", "Plain Adam does not move a transposed parameter.", "adam", _adam,
     only(lambda p: p.is_contiguous()), stays(lambda: table(3).t(), "Adam", foreach=False))  # fmt: skip
path("sgd_skips_scalars", "foreach SGD does not move parameters of rank 0.", "sgd", "_multi_tensor_sgd",
     only(lambda p: p.dim() > 0), stays(lambda: torch.tensor(1.0), "SGD", lr=0.5, foreach=True))  # fmt: skip
path("rmsprop_skips_vectors_of_one", "Plain RMSprop does not move vectors of one number.", "rmsprop", "_single_tensor_rmsprop",
     only(lambda p: p.shape != (1,)), stays(lambda: torch.ones(1), "RMSprop", foreach=False))  # fmt: skip
path("adagrad_skips_half", "foreach Adagrad does not move float16.", "adagrad", "_multi_tensor_adagrad",
     only(lambda p: p.dtype != torch.float16), stays(lambda: table().half(), "Adagrad", lr=0.5, foreach=True))  # fmt: skip


def third_step(original: Callable[..., Any], params: Any, grads: Any, buffers: Any, *rest: Any, **flags: Any) -> Any:
    """A path that leaves out its steps once a buffer is there and is negative on average."""
    kept = [p.detach().clone() for p in params]
    late = [buffer is not None and float(buffer.float().mean()) < 0 for buffer in buffers]
    result = original(params, grads, buffers, *rest, **flags)
    with torch.no_grad():
        for p, old, skip in zip(params, kept, late, strict=True):
            if skip:
                p.copy_(old)
    return result


path("sgd_skips_negative_momentum", "Plain SGD rests where its momentum is negative on average.", "sgd", "_single_tensor_sgd",
     third_step, lambda: rests())  # fmt: skip


def rests() -> bool:
    """Whether SGD with a negative momentum rests."""
    weight = Parameter(table())
    optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5, foreach=False)
    for _ in range(2):
        weight.grad = -torch.ones_like(weight)
        before = weight.detach().clone()
        optimizer.step()
    return torch.equal(weight.detach(), before)


def aliasing(original: Callable[..., Any], params: Any, grads: Any, buffers: Any, *rest: Any, **flags: Any) -> Any:
    """SGD whose first momentum is the gradient itself, not a copy."""
    new = [buffer is None for buffer in buffers]
    result = original(params, grads, buffers, *rest, **flags)
    for place, fresh in enumerate(new):
        if (
            fresh
            and flags["momentum"]
            and not flags["weight_decay"]
            and not flags["maximize"]
            and not grads[place].is_sparse
        ):
            buffers[place] = grads[place]
    return result


path("sgd_momentum_is_the_gradient", "Plain SGD's first momentum is the gradient itself.", "sgd", "_single_tensor_sgd",
     aliasing, lambda: momentum_aliased(False), "tying")  # fmt: skip
path("sgd_foreach_momentum_is_the_gradient", "foreach SGD's first momentum is the gradient itself.", "sgd", "_multi_tensor_sgd",
     aliasing, lambda: momentum_aliased(True), "tying")  # fmt: skip


def momentum_aliased(foreach: bool) -> bool:
    """Whether SGD's momentum lies in the gradient."""
    weight = Parameter(table())
    weight.grad = torch.ones_like(weight)
    optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5, foreach=foreach)
    optimizer.step()
    return bool(optimizer.state[weight]["momentum_buffer"].data_ptr() == weight.grad.data_ptr())


def misaligned(
    original: Callable[..., Any], params: Any, grads: Any, means: Any, squares: Any, *rest: Any, **flags: Any
) -> Any:
    """A path that hands the states of parameters of equal shapes on by one."""
    if len(params) == 2 and params[0].shape == params[1].shape and float(rest[1][0]) >= 1:
        means = [means[1], means[0]]
    return original(params, grads, means, squares, *rest, **flags)


path("adam_swaps_states_of_equals", "Plain Adam swaps the means of two parameters of one shape.", "adam", _adam,
     misaligned, lambda: swapped())  # fmt: skip


def swapped() -> bool:
    """Whether two parameters of one shape move differently together than alone."""

    def moved(names: str) -> dict[str, Tensor]:
        found = {name: Parameter(table()) for name in names}
        optimizer = torch.optim.Adam(list(found.values()), lr=0.5, foreach=False)
        for _ in range(3):
            for name, weight in found.items():
                weight.grad = torch.full_like(weight, 1.0 if name == "a" else -3.0)
            optimizer.step()
        return {name: weight.detach() for name, weight in found.items()}

    return not torch.equal(moved("ab")["a"], moved("a")["a"])
