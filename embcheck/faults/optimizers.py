"""Faults of torch.optim: the steps of each path, gradients that are cleared, groups and states."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Fault, Witness, add, patched
from embcheck.faults.entries import entry
from embcheck.faults.reference import Tensor, zero_behind

Optimizer = torch.optim.Optimizer
Change = Callable[[dict[str, Any]], dict[str, Any]]


def module_of(kind: str) -> Any:
    """The module of torch.optim that holds an optimizer's paths."""
    return importlib.import_module(f"torch.optim.{kind}")


def altered(name: str, sentence: str, kind: str, path: str, change: Change, witness: Witness) -> None:
    """A fault of one path of an optimizer, which works with other hyperparameters."""
    module = module_of(kind)

    def applies() -> bool:
        return hasattr(module, path)

    def plant() -> Any:
        original = getattr(module, path)

        def replaced(*args: Any, **flags: Any) -> Any:
            return original(*args, **flags | change(flags))

        return patched(module, **{path: replaced})

    add(Fault(name, "tying", sentence, plant, witness, applies=applies))


def disturbed(name: str, sentence: str, kind: str, path: str, disturb: Callable[..., None], witness: Witness) -> None:
    """A fault of one path: ``disturb(before, params, grads, flags)`` after a step; ``before`` are the old values."""
    module = module_of(kind)

    def plant() -> Any:
        original = getattr(module, path)

        def replaced(params: Any, grads: Any, *args: Any, **flags: Any) -> Any:
            before = [p.detach().clone() for p in params]
            result = original(params, grads, *args, **flags)
            with torch.no_grad():
                disturb(before, params, grads, flags)
            return result

        return patched(module, **{path: replaced})

    add(Fault(name, "tying", sentence, plant, witness, applies=lambda: hasattr(module, path)))


def after(kind: str, steps: int = 3, sparse: bool = False, dtype: torch.dtype = torch.float32, **flags: Any) -> Tensor:
    """A table of three rows after some steps with gradients in the first two."""
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [3.0, 4.0], [5.0, -6.0]], dtype=dtype))
    optimizer = getattr(torch.optim, kind)([weight], **flags)
    for step in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.embedding(torch.tensor([0, 1, 1][: 1 + step]), weight, sparse=sparse).sum().backward()
        optimizer.step()
    return weight.detach()


def disagree(one: Tensor, other: Tensor) -> bool:
    """Whether two paths differ by more than rounding: a few steps in float32 touch the last 8 of 24 bits."""
    return float((one - other).abs().max()) > 2.0**-16 * float(one.abs().max())


def apart(kind: str, **flags: Any) -> Witness:
    """Whether the plain and the foreach path of an optimizer disagree."""

    def witness() -> bool:
        plain, many = after(kind, foreach=False, **flags), after(kind, foreach=True, **flags)
        return disagree(plain, many)

    return witness


def fused_apart(kind: str, **flags: Any) -> Witness:
    """Whether the plain and the fused path of an optimizer disagree."""

    def witness() -> bool:
        plain, fused = after(kind, foreach=False, fused=False, **flags), after(kind, fused=True, **flags)
        return disagree(plain, fused)

    return witness


def moves(kind: str, row: int = 2, **flags: Any) -> Witness:
    """Whether a row moves that was not looked up."""
    return lambda: not torch.equal(after(kind, **flags)[row], torch.tensor([5.0, -6.0]))


# -- SGD ---------------------------------------------------------------------------------------------------------

_sgd, _many_sgd = "_single_tensor_sgd", "_multi_tensor_sgd"
altered("sgd_plain_forgets_dampening", "Plain SGD forgets dampening.", "sgd", _sgd, lambda f: {"dampening": 0.0},
        apart("SGD", lr=0.5, momentum=0.5, dampening=0.5))  # fmt: skip
altered("sgd_foreach_forgets_nesterov", "foreach SGD forgets nesterov.", "sgd", _many_sgd, lambda f: {"nesterov": False},
        apart("SGD", lr=0.5, momentum=0.5, nesterov=True))  # fmt: skip
altered("sgd_foreach_forgets_maximize", "foreach SGD minimizes all the same.", "sgd", _many_sgd,
        lambda f: {"maximize": False}, apart("SGD", lr=0.5, maximize=True))  # fmt: skip
altered("sgd_decays_twice_with_momentum", "Plain SGD doubles weight decay beside momentum.", "sgd", _sgd,
        lambda f: {"weight_decay": f["weight_decay"] * (2 if f["momentum"] else 1)},
        apart("SGD", lr=0.5, momentum=0.5, weight_decay=0.25))  # fmt: skip
altered("sgd_fused_forgets_decay", "Fused SGD forgets weight decay where it maximizes.", "sgd", "_fused_sgd",
        lambda f: {"weight_decay": 0.0 if f["maximize"] else f["weight_decay"]},
        fused_apart("SGD", lr=0.5, weight_decay=0.25, maximize=True))  # fmt: skip
disturbed("sgd_moves_absent_rows", "A step of plain SGD moves rows without a gradient a little.", "sgd", _sgd,
          lambda before, params, grads, flags: nudge(params, grads), moves("SGD", lr=0.5, foreach=False))  # fmt: skip
disturbed("sgd_sparse_drops_a_duplicate", "SGD applies one entry of each row of a sparse gradient.", "sgd", _sgd,
          lambda before, params, grads, flags: first_entries(before, params, grads, flags),
          lambda: not torch.equal(after("SGD", lr=0.5, sparse=True), after("SGD", lr=0.5)))  # fmt: skip
disturbed("sgd_foreach_skips_the_last", "foreach SGD does not move the last of several parameters.", "sgd", _many_sgd,
          lambda before, params, grads, flags: params[-1].copy_(before[-1]) if len(params) > 1 else None,
          lambda: two_moved(True) != (True, True))  # fmt: skip
disturbed("sgd_doubles_bias", "Plain SGD moves vectors twice as far.", "sgd", _sgd,
          lambda before, params, grads, flags: [p.add_(p - b) for p, b in zip(params, before, strict=True) if p.dim() == 1],
          lambda: vector_after() != 0.5)  # fmt: skip
disturbed("sgd_bfloat16_rounds_to_four_bits", "Plain SGD in bfloat16 keeps half of its digits.", "sgd", _sgd,
          lambda before, params, grads, flags: [p.copy_((p * 16).round() / 16) for p in params if p.dtype == torch.bfloat16],
          lambda: not torch.equal(after("SGD", lr=2.0**-6, steps=1, foreach=False, dtype=torch.bfloat16)[0],
                                  torch.tensor([1 - 2.0**-6, -2 - 2.0**-6]).bfloat16()))  # fmt: skip


disturbed("adam_moves_absent_rows", "foreach Adam moves rows without a gradient a little.", "adam", "_multi_tensor_adam",
          lambda before, params, grads, flags: nudge(params, grads), moves("Adam", lr=0.5, foreach=True))  # fmt: skip


disturbed("sgd_writes_behind", "A step of plain SGD zeroes what lies behind a parameter.", "sgd", _sgd,
          lambda before, params, grads, flags: [zero_behind(p.detach()) for p in params], lambda: sgd_writes_behind())  # fmt: skip


def sgd_writes_behind() -> bool:
    """Whether a step writes behind a parameter."""
    memory = torch.ones(3)
    weight = torch.nn.Parameter(memory[:2])
    weight.grad = torch.ones(2)
    torch.optim.SGD([weight], lr=0.5, foreach=False).step()
    return float(memory[2]) != 1.0


def nudge(params: list[Tensor], grads: list[Tensor]) -> None:
    """Moves what has no gradient by 2^-10 of itself."""
    for p, g in zip(params, grads, strict=True):
        if not g.is_sparse and p.dim() == 2:
            p.copy_(torch.where(g == 0, p * (1 - 2.0**-10), p))


def first_entries(before: list[Tensor], params: list[Tensor], grads: list[Tensor], flags: dict[str, Any]) -> None:
    """Redoes a sparse step with the first entry of each row."""
    for old, p, g in zip(before, params, grads, strict=True):
        if g.is_sparse and not flags["momentum"] and not flags["weight_decay"] and not flags["maximize"]:
            p.copy_(old)
            for place, row in enumerate(g._indices()[0].tolist()):
                if row not in g._indices()[0, :place].tolist():
                    p[row] -= float(flags["lr"]) * g._values()[place]


def two_moved(foreach: bool) -> tuple[bool, bool]:
    """Which of two parameters a step of SGD moves."""
    pair = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    for p in pair:
        p.grad = torch.ones(1)
    torch.optim.SGD(pair, lr=0.5, foreach=foreach).step()
    return bool(pair[0] != 1), bool(pair[1] != 1)


def vector_after() -> float:
    """A vector of one after a step of SGD down a gradient of one."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    torch.optim.SGD([weight], lr=0.5, foreach=False).step()
    return float(weight)


# -- Adam and its kin --------------------------------------------------------------------------------------------

_adam, _many_adam = "_single_tensor_adam", "_multi_tensor_adam"
altered("adam_foreach_forgets_amsgrad_decay", "foreach Adam forgets weight decay beside amsgrad.", "adam", _many_adam,
        lambda f: {"weight_decay": 0.0 if f["amsgrad"] else f["weight_decay"]},
        apart("Adam", lr=0.5, weight_decay=0.25, amsgrad=True))  # fmt: skip
altered("adam_plain_squares_eps", "Plain Adam adds eps² in place of eps.", "adam", _adam, lambda f: {"eps": f["eps"] ** 2},
        apart("Adam", lr=0.5, eps=0.25))  # fmt: skip
altered("adam_swaps_betas_when_maximizing", "Adam swaps its betas where it maximizes.", "adam", _adam,
        lambda f: {"beta1": f["beta2"], "beta2": f["beta1"]} if f["maximize"] else {},
        apart("Adam", lr=0.5, betas=(0.5, 0.75), maximize=True))  # fmt: skip
altered("adam_fused_couples_nothing", "Fused Adam forgets weight decay.", "adam", "_fused_adam", lambda f: {"weight_decay": 0.0},
        fused_apart("Adam", lr=0.5, weight_decay=0.25))  # fmt: skip
altered("adam_foreach_halves_small_rate", "foreach Adam halves learning rates of 1/8 and below.", "adam", _many_adam,
        lambda f: {"lr": f["lr"] / 2} if float(f["lr"]) <= 0.125 else {}, apart("Adam", lr=0.125))  # fmt: skip
altered("rmsprop_forgets_centered_momentum", "Plain RMSprop is not centered beside momentum.", "rmsprop",
        "_single_tensor_rmsprop", lambda f: {"centered": f["centered"] and not f["momentum"]},
        apart("RMSprop", lr=0.5, alpha=0.5, centered=True, momentum=0.5))  # fmt: skip
altered("adagrad_decays_rate_late", "Plain Adagrad ignores lr_decay.", "adagrad", "_single_tensor_adagrad",
        lambda f: {"lr_decay": 0.0}, apart("Adagrad", lr=0.5, lr_decay=0.5))  # fmt: skip
altered("adadelta_rho_of_one_half", "foreach Adadelta takes 0.75 for any rho.", "adadelta", "_multi_tensor_adadelta",
        lambda f: {"rho": 0.75}, apart("Adadelta", lr=0.5, rho=0.5))  # fmt: skip
altered("adamax_foreach_forgets_decay", "foreach Adamax forgets weight decay.", "adamax", "_multi_tensor_adamax",
        lambda f: {"weight_decay": 0.0}, apart("Adamax", lr=0.5, weight_decay=0.25))  # fmt: skip
altered("nadam_couples_decoupled_decay", "Plain NAdam couples decoupled weight decay.", "nadam", "_single_tensor_nadam",
        lambda f: {"decoupled_weight_decay": False}, apart("NAdam", lr=0.5, weight_decay=0.25, decoupled_weight_decay=True))  # fmt: skip
altered("radam_eps_doubled", "foreach RAdam doubles eps.", "radam", "_multi_tensor_radam", lambda f: {"eps": 2 * f["eps"]},
        lambda: disagree(after("RAdam", 9, lr=0.5, eps=0.5, betas=(0.5, 0.75), foreach=True),
                         after("RAdam", 9, lr=0.5, eps=0.5, betas=(0.5, 0.75), foreach=False)))  # fmt: skip
altered("rprop_clips_early", "Plain Rprop's largest step is a quarter of what was asked.", "rprop", "_single_tensor_rprop",
        lambda f: {"step_size_max": f["step_size_max"] / 4}, apart("Rprop", lr=1.0, step_sizes=(0.5, 2.0)))  # fmt: skip
altered("asgd_forgets_lambd", "foreach ASGD takes lambd for nothing.", "asgd", "_multi_tensor_asgd", lambda f: {"lambd": 0.0},
        apart("ASGD", lr=0.5, lambd=0.25))  # fmt: skip


def _adamw_in_a_row(original: Callable[..., Any]) -> Callable[..., Any]:
    def step(self: Any, closure: Any = None) -> Any:
        result = original(self, closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p in self.state and self.state[p].get("step") is not None and p.grad is not None:
                    self.state[p]["step"] += 1
        return result

    return step


for _kind, _sentence in (("AdamW", "counts every step twice"), ("Adagrad", "counts every step twice")):
    entry(f"{_kind.lower()}_counts_twice", "tying", f"{_kind} {_sentence}.", getattr(torch.optim, _kind), "step", _adamw_in_a_row,
          lambda kind=_kind: counted(kind) != 1)  # fmt: skip


def counted(kind: str) -> int:
    """The count of an optimizer after one step."""
    weight = torch.nn.Parameter(torch.ones(2, 1))
    weight.grad = torch.ones(2, 1)
    optimizer = getattr(torch.optim, kind)([weight])
    optimizer.step()
    return int(optimizer.state[weight]["step"])


def _sparse_adam(original: Callable[..., Any]) -> Callable[..., Any]:
    def step(self: Any, closure: Any = None) -> Any:
        result = original(self, closure)
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p in self.state and p.grad is not None and int(self.state[p]["step"]) > 1:
                        p.add_(self.state[p]["exp_avg"], alpha=-(2.0**-10))
        return result

    return step


entry("sparse_adam_moves_earlier_rows", "tying", "SparseAdam moves rows by their momentum from the second step on.",
      torch.optim.SparseAdam, "step", _sparse_adam, lambda: earlier_row_moves())  # fmt: skip


def earlier_row_moves() -> bool:
    """Whether SparseAdam moves a row that only the step before looked up."""
    weight = torch.nn.Parameter(torch.ones(2, 1))
    optimizer = torch.optim.SparseAdam([weight])
    seen = []
    for token in (0, 1):
        optimizer.zero_grad()
        torch.nn.functional.embedding(torch.tensor([token]), weight, sparse=True).sum().backward()
        optimizer.step()
        seen.append(float(weight[0]))
    return seen[0] != seen[1]


# -- every optimizer ---------------------------------------------------------------------------------------------


def step_of(name: str, sentence: str, kind: str, wrong: Callable[..., Any], witness: Witness) -> None:
    """A fault of an optimizer's step: ``wrong(original, self, closure)``."""
    entry(name, "tying", sentence, getattr(torch.optim, kind), "step",
          lambda original: lambda self, closure=None: wrong(original, self, closure), witness)  # fmt: skip


def every_parameter(optimizer: Any, act: Callable[[Any], None]) -> None:
    """Does something to every parameter of an optimizer that has a gradient."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                act(p)


def then(act: Callable[[Any, Any], None]) -> Callable[..., Any]:
    """A step after which something is done to every parameter."""

    def wrong(original: Callable[..., Any], self: Any, closure: Any) -> Any:
        result = original(self, closure)
        every_parameter(self, lambda p: act(self, p))
        return result

    return wrong


def one_step(kind: str, **flags: Any) -> tuple[Any, Any, Any, Any]:
    """A parameter, its address and its gradient before a step, and what the step returned."""
    weight = torch.nn.Parameter(torch.ones(2, 1))
    weight.grad = torch.ones(2, 1)
    address = weight.data_ptr()
    result = getattr(torch.optim, kind)([weight], **flags).step()
    return weight, address, weight.grad, result


step_of("step_moves_memory", "A step of SGD moves a parameter to other memory.", "SGD",
        then(lambda self, p: setattr(p, "data", p.data.clone())), lambda: moved_memory("SGD"))  # fmt: skip
step_of("step_forgets_gradient", "A step of Adam forgets the gradient.", "Adam", then(lambda self, p: setattr(p, "grad", None)),
        lambda: one_step("Adam")[2] is None)  # fmt: skip
step_of("step_halves_gradient", "A step of RMSprop halves the gradient in place.", "RMSprop",
        then(lambda self, p: p.grad.mul_(0.5)), lambda: float(one_step("RMSprop")[2][0]) != 1.0)  # fmt: skip
step_of("step_freezes", "A step of Adadelta freezes its parameters.", "Adadelta", then(lambda self, p: p.requires_grad_(False)),
        lambda: not one_step("Adadelta")[0].requires_grad)  # fmt: skip
step_of("step_returns_zero", "A step of AdamW without a closure returns a number.", "AdamW",
        lambda original, self, closure: original(self, closure) if closure is not None else (original(self), 0.0)[1],
        lambda: one_step("AdamW")[3] is not None)  # fmt: skip
step_of("closure_is_called_twice", "A step of SGD calls its closure twice.", "SGD",
        lambda original, self, closure: original(self, (lambda: (closure(), closure())[1]) if closure else None),
        lambda: closure_calls() != 1)  # fmt: skip
step_of("lbfgs_goes_uphill", "L-BFGS takes half of its first step.", "LBFGS",
        lambda original, self, closure: half_way(original, self, closure), lambda: lbfgs_first_step() != -1.0)  # fmt: skip


def moved_memory(kind: str) -> bool:
    """Whether a step moves a parameter to other memory."""
    weight, address, _, _ = one_step(kind, lr=0.5)
    return bool(weight.data_ptr() != address)


def closure_calls() -> int:
    """How often SGD calls its closure."""
    weight = torch.nn.Parameter(torch.ones(1))
    calls: list[int] = []
    torch.optim.SGD([weight], lr=0.5).step(lambda: calls.append(1) or 0.0)  # type: ignore[func-returns-value]
    return len(calls)


def half_way(original: Callable[..., Any], self: Any, closure: Any) -> Any:
    """A step whose result lies half way."""
    before = [p.detach().clone() for group in self.param_groups for p in group["params"]]
    result = original(self, closure)
    with torch.no_grad():
        for p, old in zip((p for group in self.param_groups for p in group["params"]), before, strict=True):
            p.copy_((p + old) / 2)
    return result


def lbfgs_first_step() -> float:
    """Where L-BFGS gets from 0 down a slope of one with max_iter=1."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.LBFGS([weight], lr=1, max_iter=1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(weight)


def method(name: str, sentence: str, attribute: str, wrong: Callable[..., Any], witness: Witness) -> None:
    """A fault of a method of every optimizer: ``wrong(original, self, *args, **kwargs)``."""
    entry(name, "tying", sentence, Optimizer, attribute,
          lambda original: lambda self, *args, **kwargs: wrong(original, self, *args, **kwargs), witness)  # fmt: skip


method("zero_grad_keeps_zeros", "zero_grad() zeroes the gradients of matrices.", "zero_grad",
       lambda original, self, set_to_none=True: original(self, False), lambda: zeroed(True) is not None)  # fmt: skip
method("zero_grad_forgets_always", "zero_grad(set_to_none=False) forgets the gradients.", "zero_grad",
       lambda original, self, set_to_none=True: original(self, True), lambda: zeroed(False) is None)  # fmt: skip
method("zero_grad_skips_sparse", "zero_grad() skips sparse gradients.", "zero_grad",
       lambda original, self, set_to_none=True: skip_sparse(original, self, set_to_none), lambda: sparse_stays())  # fmt: skip
method("load_forgets_state_strides", "load_state_dict gives a new optimizer its state doubled.", "load_state_dict",
       lambda original, self, state: (original(self, state), doubled_state(self))[0], lambda: reloaded_momentum() != 1.0)  # fmt: skip
method("load_keeps_the_rate", "load_state_dict keeps the learning rate that is set.", "load_state_dict",
       lambda original, self, state: keep_rate(original, self, state), lambda: reloaded_rate() != 0.25)  # fmt: skip
method("state_forgets_momentum", "state_dict leaves out the momentum of SGD.", "state_dict",
       lambda original, self: forget_momentum(original(self)), lambda: reloaded_momentum() != 1.0)  # fmt: skip
method("parameter_in_two_groups_is_accepted", "A parameter may be in two groups.", "add_param_group",
       lambda original, self, group: accept_twice(original, self, group), lambda: accepts_two_groups())  # fmt: skip


method("load_widens_state", "load_state_dict makes the state of bfloat16 parameters float32.", "load_state_dict",
       lambda original, self, state: (original(self, state), widened(self))[0], lambda: widens())  # fmt: skip
method("duplicates_pass_without_a_word", "A parameter that is listed twice in a group is not warned of.", "add_param_group",
       lambda original, self, group: silently(original, self, group), lambda: not warns())  # fmt: skip


def widened(self: Any) -> None:
    """Makes the state tensors of an optimizer float32."""
    for state in self.state.values():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dtype == torch.bfloat16:
                state[name] = value.float()


def widens() -> bool:
    """Whether loading changes a state's dtype."""
    weight = torch.nn.Parameter(torch.ones(1).bfloat16())
    weight.grad = torch.ones(1).bfloat16()
    optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    return optimizer.state[weight]["momentum_buffer"].dtype != torch.bfloat16


def silently(original: Callable[..., Any], self: Any, group: dict[str, Any]) -> None:
    """add_param_group without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original(self, group)


def warns() -> bool:
    """Whether a duplicate is warned of."""
    weight = torch.nn.Parameter(torch.ones(1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.optim.SGD([weight, weight])
    return bool(caught)


def _takes_any_rate(original: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, params: Any, lr: Any = 1e-3, *rest: Any, **flags: Any) -> None:
        if isinstance(lr, (int, float)) and lr < 0:
            original(self, params, 0.0, *rest, **flags)
            for group in self.param_groups:
                group["lr"] = lr
        else:
            original(self, params, lr, *rest, **flags)

    return __init__


entry("negative_rate_is_accepted", "tying", "SGD takes a negative learning rate.", torch.optim.SGD, "__init__", _takes_any_rate,
      lambda: takes_negative_rate())  # fmt: skip


def takes_negative_rate() -> bool:
    """Whether SGD takes a negative learning rate."""
    try:
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=-1.0)
    except ValueError:
        return False
    return True


def zeroed(set_to_none: bool) -> Tensor | None:
    """A matrix's gradient after zero_grad."""
    weight = torch.nn.Parameter(torch.ones(1, 1))
    weight.grad = torch.ones(1, 1)
    torch.optim.SGD([weight]).zero_grad(set_to_none)
    return weight.grad


def skip_sparse(original: Callable[..., Any], self: Any, set_to_none: bool) -> None:
    """zero_grad that keeps sparse gradients."""
    kept = [(p, p.grad) for group in self.param_groups for p in group["params"] if p.grad is not None and p.grad.is_sparse]
    original(self, set_to_none)
    for p, grad in kept:
        p.grad = grad


def sparse_stays() -> bool:
    """Whether a sparse gradient survives zero_grad."""
    weight = torch.nn.Parameter(torch.ones(2, 1))
    torch.nn.functional.embedding(torch.tensor([0]), weight, sparse=True).sum().backward()
    torch.optim.SGD([weight]).zero_grad()
    return weight.grad is not None


def doubled_state(self: Any) -> None:
    """Doubles the momentum of an optimizer."""
    for state in self.state.values():
        if isinstance(state.get("momentum_buffer"), Tensor):
            state["momentum_buffer"].mul_(2)


def reloaded() -> Any:
    """An SGD that was given another's state, with a momentum of one and a rate of 1/4."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    first = torch.optim.SGD([weight], lr=0.25, momentum=0.5)
    first.step()
    second = torch.optim.SGD([weight], lr=0.5, momentum=0.5)
    second.load_state_dict(first.state_dict())
    return second


def reloaded_momentum() -> float | None:
    """The momentum that arrives."""
    for state in reloaded().state.values():
        if state.get("momentum_buffer") is not None:
            return float(state["momentum_buffer"])
    return None


def reloaded_rate() -> float:
    """The learning rate that arrives."""
    return float(reloaded().param_groups[0]["lr"])


def keep_rate(original: Callable[..., Any], self: Any, state: Any) -> None:
    """load_state_dict that keeps the rates."""
    rates = [group["lr"] for group in self.param_groups]
    original(self, state)
    for group, rate in zip(self.param_groups, rates, strict=True):
        group["lr"] = rate


def forget_momentum(state: dict[str, Any]) -> dict[str, Any]:
    """A state dictionary without momentum."""
    slots = {key: {k: v for k, v in slot.items() if k != "momentum_buffer"} for key, slot in state["state"].items()}
    return state | {"state": slots}


def accept_twice(original: Callable[..., Any], self: Any, group: dict[str, Any]) -> None:
    """add_param_group that does not look for duplicates."""
    try:
        original(self, group)
    except ValueError as error:
        if "more than one parameter group" not in str(error):
            raise
        self.param_groups.append({**self.defaults, **group})


def accepts_two_groups() -> bool:
    """Whether a parameter may be in two groups."""
    weight = torch.nn.Parameter(torch.ones(1))
    try:
        torch.optim.SGD([{"params": [weight]}, {"params": [weight]}])
    except ValueError:
        return False
    return True


# -- clipping ----------------------------------------------------------------------------------------------------


def _clips_each(original: Callable[..., Any]) -> Callable[..., Any]:
    def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
        found = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        original(found, clip_value, foreach)
        for p in found:
            if p.grad is not None:
                p.grad.data = p.grad.data.clamp(max=clip_value / 2)

    return clip_grad_value_


entry("clip_value_is_lopsided", "tying", "clip_grad_value_ clips positive gradients at half the value.", torch.nn.utils,
      "clip_grad_value_", _clips_each, lambda: clipped_value() != 1.0)  # fmt: skip


def _clips_twice(original: Callable[..., Any]) -> Callable[..., Any]:
    def clip_grad_norm_(parameters: Any, max_norm: float, *rest: Any, **more: Any) -> Any:
        found = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        return original(found + found[:1], max_norm, *rest, **more)

    return clip_grad_norm_


entry("clip_norm_counts_the_first_twice", "tying", "clip_grad_norm_ counts the first parameter twice.", torch.nn.utils,
      "clip_grad_norm_", _clips_twice, lambda: clipped_norm() != 2.0)  # fmt: skip


def clipped_value() -> float:
    """A gradient of 2 clipped to 1."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.full((1,), 2.0)
    torch.nn.utils.clip_grad_value_([weight], 1.0)
    return float(weight.grad)


def clipped_norm() -> float:
    """The norm of one gradient of 2."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.full((1,), 2.0)
    return float(torch.nn.utils.clip_grad_norm_([weight], 100.0))
