"""Faults of regions that end by an exception, of complex parameters, of states that are loaded in double precision and of
buffers in copies."""

from __future__ import annotations

import contextlib
import copy
import functools
from typing import Any

import torch

from embcheck.faults.around import around, numbered
from embcheck.faults.kernels import Tensor

optim = torch.optim
Parameter = torch.nn.Parameter


def casts_kept(original: Any, self: Any, kind: Any, *rest: Any) -> Any:
    """The end of a region of autocast, which drops what was cast unless an exception ends it."""
    if kind is None:
        return original(self, kind, *rest)
    clear, torch.clear_autocast_cache = torch.clear_autocast_cache, lambda: None
    try:
        return original(self, kind, *rest)
    finally:
        torch.clear_autocast_cache = clear


def after_a_broken_region() -> Tensor:
    """A head under autocast whose weight was doubled after an exception had left the region before."""
    head = torch.nn.Linear(2, 2, bias=False)
    head.weight = Parameter(numbered(2))
    try:
        with contextlib.suppress(ArithmeticError), torch.autocast("cpu", dtype=torch.bfloat16):
            head(torch.ones(1, 2))
            raise ArithmeticError
        head.weight.data.mul_(2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value: Tensor = head(torch.ones(1, 2))
            return value.detach()
    finally:
        torch.clear_autocast_cache()


around(
    "autocast_left_by_an_exception_keeps_casts",
    "affine",
    "What autocast has cast outlives its region if an exception ends that.",
    torch.autocast,
    "__exit__",
    casts_kept,
    after_a_broken_region,
)


def real_only(original: Any, self: Any, *given: Any) -> Any:
    """A step after which the imaginary parts are what they were."""
    members = [p for group in self.param_groups for p in group["params"] if p.is_complex()]
    before = [p.detach().imag.clone() for p in members]
    result = original(self, *given)
    with torch.no_grad():
        for p, old in zip(members, before, strict=True):
            torch.view_as_real(p)[..., 1] = old
    return result


def complex_step(kind: Any, **options: Any) -> Tensor:
    """A complex parameter after a step."""
    p = Parameter(torch.ones(2, dtype=torch.complex64))
    p.grad = torch.full((2,), 1 + 1j, dtype=torch.complex64)
    kind([p], lr=0.5, **options).step()
    return torch.view_as_real(p.detach())


for kind in (optim.SGD, optim.Adagrad, optim.Rprop):
    around(
        f"{kind.__name__.lower()}_moves_real_parts_alone",
        "company",
        f"{kind.__name__} leaves the imaginary part of a complex parameter where it is.",
        kind,
        "step",
        real_only,
        functools.partial(complex_step, kind),
    )


def forgetting(original: Any, self: Any, state: Any) -> None:
    """What an NAdam is made of, with a product of momenta that starts anew where it is kept in double precision."""
    original(self, state)
    for kept in self.state.values():
        product = kept.get("mu_product")
        if isinstance(product, Tensor) and product.dtype == torch.float64:
            kept["mu_product"] = torch.ones(())


def resumed() -> Tensor:
    """A parameter in double precision whose NAdam was loaded before the second step."""
    p = Parameter(numbered(dtype=torch.float64))
    optimizer = optim.NAdam([p], lr=0.5)
    for _ in range(2):
        p.grad = torch.ones_like(p)
        optimizer.step()
        other = optim.NAdam([p], lr=0.5)
        other.load_state_dict(optimizer.state_dict())
        optimizer = other
    return p.detach()


around(
    "loaded_product_of_momenta_starts_anew_in_double",
    "tying",
    "NAdam forgets the product of its momenta when a state in double precision is loaded.",
    optim.NAdam,
    "__setstate__",
    forgetting,
    resumed,
)


def nothing_over_nothing(original: Any, self: Any, *given: Any) -> Any:
    """A step, in which 0/(0 + eps) is NaN where eps has no digit in half precision."""
    result = original(self, *given)
    with torch.no_grad():
        for group in self.param_groups:
            for p in group["params"]:
                if group["fused"] and p.grad is not None and p.dtype == torch.float16 and group["eps"] < 2.0**-25:
                    p[p.grad.to_dense() == 0] = torch.nan
    return result


def faint_eps() -> bool:
    """Whether fused Adam makes NaN of an element without gradient."""
    p = Parameter(torch.ones(16, dtype=torch.float16))
    p.grad = torch.zeros_like(p)
    optim.Adam([p], fused=True).step()
    return bool(p.isnan().any())


around(
    "fused_adam_divides_nothing_by_nothing",
    "tying",
    "Fused Adam makes NaN of what has no gradient in half precision, with the default eps.",
    optim.Adam,
    "step",
    nothing_over_nothing,
    faint_eps,
)


def without_the_set(original: Any, self: Any) -> dict[str, Any]:
    """What a module is copied and pickled from, without the names of the buffers that are not persistent."""
    kept: dict[str, Any] = original(self)
    return {name: value for name, value in kept.items() if name != "_non_persistent_buffers_set"}


def copied_names() -> list[str]:
    """The names in the state of a copy of a module with a buffer that is not persistent."""
    layer = torch.nn.Embedding(2, 2)
    layer.register_buffer("seen", torch.zeros(2), persistent=False)
    return list(copy.deepcopy(layer).state_dict())


around(
    "copies_hold_every_buffer",
    "membership",
    "In a copy of a module every buffer is persistent.",
    torch.nn.Module,
    "__getstate__",
    without_the_set,
    copied_names,
    applies=lambda: "__getstate__" in vars(torch.nn.Module),
)
