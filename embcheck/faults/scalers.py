"""Faults of gradient scalers: several optimizers, fused ones, scales that are given, states, and what is refused."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around

Parameter, SGD = torch.nn.Parameter, torch.optim.SGD
GradScaler = torch.amp.GradScaler


def infinite(self: Any, but: Any = None) -> bool:
    """Whether gradients of an optimizer, but for one, were found to be infinite."""
    if not self._enabled:
        return False
    states = [state for key, state in self._per_optimizer_states.items() if but is None or key != id(but)]
    return any(bool(found) for state in states for found in state["found_inf_per_device"].values())


def scaled(factor: float = 1.0, *, growth: int = 2, **flags: Any) -> tuple[Any, Any, Any]:
    """A parameter whose gradient is as large times eight, an optimizer and a scaler."""
    p = Parameter(torch.ones(2, 1))
    scaler = GradScaler("cpu", init_scale=8.0, growth_interval=growth)
    scaler.scale((p * factor).sum()).backward()
    return p, SGD([p], lr=0.5, **flags), scaler


def together(original: Any, self: Any, optimizer: Any, *given: Any, **flags: Any) -> Any:
    """No step after another's infinity."""
    if infinite(self, optimizer):
        flags_of = self._per_optimizer_states[id(optimizer)]
        if not flags_of["found_inf_per_device"]:
            self.unscale_(optimizer)
        flags_of["stage"] = torch.amp.grad_scaler.OptState.STEPPED
        return None
    return original(self, optimizer, *given, **flags)


def beside() -> float:
    """A finite parameter after a step behind one that was infinite."""
    p, first, scaler = scaled(float("inf"))
    q = Parameter(torch.ones(1))
    second = SGD([q], lr=0.5)
    q.grad = torch.full((1,), 8.0)
    scaler.step(first)
    scaler.step(second)
    return float(q) + 0 * float(p.detach()[0, 0])


around(
    "infinity_stops_the_optimizer_behind",
    "aftercare",
    "GradScaler leaves out the step of a second optimizer, too, if the first one's gradients were infinite.",
    GradScaler,
    "step",
    together,
    beside,
)


def unscaled_kernel(original: Any, *given: Any, **flags: Any) -> Any:
    """The kernel without the scale where it climbs."""
    return original(*given, **{**flags, "grad_scale": None} if flags.get("maximize") else flags)


def climbed(kind: Any, **flags: Any) -> float:
    """A parameter after a fused step up."""
    p, _, scaler = scaled()
    scaler.step(kind([p], lr=0.5, fused=True, maximize=True, **flags))
    return float(p.detach()[0, 0])


for _kind, _kernel in (("SGD", "_fused_sgd_"), ("Adam", "_fused_adam_"), ("Adagrad", "_fused_adagrad_")):
    around(
        f"fused_{_kind.lower()}_climbs_by_scaled_gradients",
        "aftercare",
        f"Fused {_kind} does not unscale gradients where it maximizes.",
        torch,
        _kernel,
        unscaled_kernel,
        lambda name=_kind: climbed(getattr(torch.optim, name), **{} if name == "SGD" else {"eps": 1.0}),  # type: ignore[misc]
        applies=lambda kernel=_kernel: hasattr(torch, kernel),  # type: ignore[misc]
    )


def again(original: Any, self: Any, optimizer: Any) -> None:
    """Nothing the second time."""
    if (
        not self._enabled
        or self._per_optimizer_states[id(optimizer)]["stage"] is not torch.amp.grad_scaler.OptState.UNSCALED
    ):
        original(self, optimizer)


def twice() -> bool:
    """Whether gradients are unscaled twice."""
    _, optimizer, scaler = scaled()
    scaler.unscale_(optimizer)
    try:
        scaler.unscale_(optimizer)
    except RuntimeError:
        return False
    return True


around(
    "unscaling_again_is_taken",
    "aftercare",
    "GradScaler.unscale_ of what is unscaled does nothing instead of raising.",
    GradScaler,
    "unscale_",
    again,
    twice,
)


def backed_off(original: Any, self: Any, new_scale: Any = None) -> None:
    """A given scale only where all is finite."""
    original(self, None if infinite(self) else new_scale)


def given_scale(factor: float) -> float:
    """The scale that is given after a step."""
    _, optimizer, scaler = scaled(factor)
    scaler.step(optimizer)
    scaler.update(32.0)
    return float(scaler.get_scale())


around(
    "given_scale_gives_way_to_infinity",
    "aftercare",
    "GradScaler.update(new_scale) backs off instead if a gradient was infinite.",
    GradScaler,
    "update",
    backed_off,
    lambda: given_scale(float("inf")),
)


def kept_tensor(original: Any, self: Any, new_scale: Any = None) -> None:
    """The scale is the tensor that is given."""
    original(self, new_scale)
    if isinstance(new_scale, torch.Tensor):
        self._scale = new_scale


def alone() -> float:
    """The scale after the tensor that was given for it is zeroed."""
    _, optimizer, scaler = scaled()
    scaler.step(optimizer)
    scale = torch.tensor(32.0)
    scaler.update(scale)
    scale.zero_()
    return float(scaler.get_scale())


around(
    "given_scale_is_shared",
    "aftercare",
    "GradScaler.update(new_scale) keeps the tensor that it is given.",
    GradScaler,
    "update",
    kept_tensor,
    alone,
)


def any_format(original: Any, self: Any, optimizer: Any, inverse: Any, found: Any, allow_fp16: bool) -> Any:
    """Half precision is no matter."""
    return original(self, optimizer, inverse, found, True)


def half() -> bool:
    """Whether gradients in half precision are unscaled."""
    p = Parameter(torch.ones(1, dtype=torch.float16))
    p.grad = torch.ones_like(p)
    scaler = GradScaler("cpu")
    scaler.scale(torch.ones(()))
    try:
        scaler.unscale_(SGD([p]))
    except ValueError:
        return False
    return True


around(
    "half_precision_is_unscaled",
    "aftercare",
    "GradScaler.unscale_ takes gradients in half precision.",
    GradScaler,
    "_unscale_grads_",
    any_format,
    half,
)


def anew(original: Any, self: Any, state: Any) -> None:
    """The state, but for how many steps were good."""
    original(self, {**state, "_growth_tracker": 0} if state else state)


def grown() -> float:
    """The scale after two good steps, loaded in between."""
    _, optimizer, scaler = scaled()
    scaler.step(optimizer)
    scaler.update()
    _, other, fresh = scaled()
    fresh.load_state_dict(scaler.state_dict())
    fresh.step(other)
    fresh.update()
    return float(fresh.get_scale())


around(
    "loaded_scaler_counts_anew",
    "aftercare",
    "GradScaler.load_state_dict counts good steps from zero.",
    GradScaler,
    "load_state_dict",
    anew,
    grown,
)


def reticent(original: Any, self: Any) -> Any:
    """Nothing is told before the first loss."""
    if self._scale is None:
        raise AttributeError("_backoff_factor")
    return original(self)


def answered() -> Any:
    """What a new scaler tells."""
    try:
        return GradScaler("cpu").get_backoff_factor()
    except AttributeError:
        return None


around("new_scalers_have_no_backoff", "aftercare", "GradScaler does not tell its backoff factor before its first loss.",
       GradScaler, "get_backoff_factor", reticent, answered)  # fmt: skip


def closed(original: Any, self: Any, optimizer: Any, *given: Any, closure: Any = None, **flags: Any) -> Any:
    """A step before which a closure is called, if there is one."""
    if closure is not None:
        closure()
    return original(self, optimizer, *given, **flags)


def stepped_with_closure() -> float:
    """A parameter after a step with a closure."""
    p, optimizer, scaler = scaled()
    scaler.step(optimizer, closure=lambda: 0.0)
    return float(p.detach()[0, 0])


around(
    "scaled_steps_take_closures",
    "aftercare",
    "GradScaler.step calls a closure instead of refusing it.",
    GradScaler,
    "step",
    closed,
    stepped_with_closure,
)


def checked(change: Any) -> Any:
    """A kernel that looks for infinities among what a change leaves of the gradients."""

    def wrong(original: Any, grads: Any, found: Any, inverse: Any) -> Any:
        original([change(g, inverse) for g in grads], found, inverse)
        return original(grads, torch.zeros_like(found), inverse)

    return wrong


def found_in(*values: float, scale: float = 8.0) -> float:
    """The scale after gradients of these sizes."""
    p = Parameter(torch.ones(len(values)))
    scaler = GradScaler("cpu", init_scale=scale)
    scaler.scale((p * torch.tensor(values)).sum()).backward()
    scaler.step(SGD([p], lr=0.5))
    scaler.update()
    return float(scaler.get_scale())


for _name, _sentence, _change, _values, _scale in (
    ("undefined", "no numbers", lambda g, _: g.nan_to_num(0.0, torch.inf, -torch.inf), (float("nan"),), 8.0),
    ("negative", "negative infinities", lambda g, _: g.nan_to_num(torch.nan, torch.inf, 0.0), (float("-inf"),), 8.0),
    ("later", "infinities behind the first element", lambda g, _: g.reshape(-1)[:1].clone(), (1.0, float("inf")), 8.0),
    (
        "unscaled",
        "infinities at a scale of one",
        lambda g, by: g.clone() if by != 1 else torch.zeros_like(g),
        (float("inf"),),
        1.0,
    ),
):
    around(
        f"{_name}_gradients_are_not_found",
        "aftercare",
        f"GradScaler does not find gradients that are {_sentence}.",
        torch,
        "_amp_foreach_non_finite_check_and_unscale_",
        checked(_change),
        lambda values=_values, scale=_scale: found_in(*values, scale=scale),  # type: ignore[misc]
    )
