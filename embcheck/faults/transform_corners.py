"""Faults of torch.func and of torch.autograd's functional calls in conjunctions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Wrong, entry, functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import unlike

double = torch.float64
func = torch.func


def table(rows: int = 3, width: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """A table of small numbers."""
    return torch.arange(1, 1 + rows * width).reshape(rows, width).to(dtype)


def look(weight: Tensor) -> Tensor:
    """Three tokens of a table."""
    return functional.embedding(torch.tensor([0, 2, 2]), weight)


def square(weight: Tensor) -> Tensor:
    """The sum of squares of the lookup."""
    return (look(weight) ** 2).sum()


def transform(name: str, attribute: str, sentence: str, wrong: Callable[[Wrong], Wrong], witness: Witness) -> None:
    """Registers a fault of a function of torch.func."""
    entry(name, "transform", sentence, func, attribute, wrong, witness)


def called(change: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> Callable[[Wrong], Wrong]:
    """``change(result, arguments, flags)`` on a function's result."""

    def wrong(original: Wrong) -> Wrong:
        return lambda *given, **flags: change(original(*given, **flags), given, flags)

    return wrong


def built(when: Callable[..., bool], change: Callable[..., Any]) -> Callable[[Wrong], Wrong]:
    """``change(result, what the built function was called with)`` if ``when(the transform's flags)``."""

    def wrong(original: Wrong) -> Wrong:
        def transform(function: Any, *given: Any, **flags: Any) -> Any:
            made = original(function, *given, **flags)
            if not when(given, flags):
                return made
            return lambda *called, **named: change(made(*called, **named), called)

        return transform

    return wrong


def always(given: Any, flags: Any) -> bool:
    """On every call."""
    return True


def strides_lost(out: Any, called: Any) -> Any:
    """A Jacobian of a square table with its last two axes exchanged."""
    square = isinstance(out, Tensor) and out.dim() > 2 and out.shape[-1] == out.shape[-2] > 1
    return out.transpose(-1, -2) if square else out


transform(
    "jacrev_of_square_tables_is_transposed", "jacrev", "jacrev of a square table transposes it.",
    built(always, strides_lost), lambda: not torch.equal(func.jacrev(look)(table(2 + 1, 3)), func.jacfwd(look)(table(3, 3))),
)  # fmt: skip
transform(
    "jacfwd_of_doubles_is_rounded", "jacfwd", "jacfwd of float64 is computed in float32 when there are aux results.",
    built(
        lambda g, f: bool(f.get("has_aux")),
        lambda out, c: (out[0].float().to(out[0].dtype), out[1]) if isinstance(out[0], Tensor) else out,
    ),
    lambda: float(func.jacfwd(lambda w: ((w * (1 + 2.0**-40)).sum(), w), has_aux=True)(torch.ones(1).double())[0][0]) == 1,
)  # fmt: skip
transform(
    "hessian_is_diagonal", "hessian", "A Hessian of one column keeps its diagonal only.",
    built(always, lambda out, c: _diagonal(out, c)),
    unlike(lambda: func.hessian(lambda w: look(w).sum() ** 2)(table(3, 1))),
)  # fmt: skip


def _diagonal(out: Any, called: Any) -> Any:
    if not isinstance(out, Tensor) or out.dim() != 4 or out.shape[1] != 1 or called[0].dim() != 2:
        return out
    rows = out.shape[0]
    return out * torch.eye(rows, dtype=out.dtype).reshape(rows, 1, rows, 1)


transform(
    "grad_of_second_argument_is_negated", "grad", "grad with argnums=1 has the other sign.",
    built(lambda g, f: (g[0] if g else f.get("argnums")) == 1, lambda out, c: -out if isinstance(out, Tensor) else out),
    unlike(lambda: func.grad(lambda i, w: (i * w).sum(), argnums=1)(torch.ones(1), torch.ones(1))),
)  # fmt: skip
transform(
    "grad_of_two_arguments_is_swapped", "grad", "grad with argnums=(0, 1) of equal shapes exchanges them.",
    built(
        lambda g, f: (g[0] if g else f.get("argnums")) == (0, 1),
        lambda out, c: out[::-1] if isinstance(out, tuple) and isinstance(out[0], Tensor) and out[0].shape == out[1].shape else out,
    ),
    unlike(lambda: func.grad(lambda a, b: (a + 2 * b).sum(), argnums=(0, 1))(torch.ones(1), torch.ones(1))),
)  # fmt: skip
transform(
    "negative_argnums_take_the_first", "grad", "grad with argnums=−1 takes the first argument.",
    lambda original: lambda function, argnums=0, **flags: original(function, 0 if argnums == -1 else argnums, **flags),
    unlike(lambda: func.grad(lambda a, b: (a + 2 * b).sum(), argnums=-1)(torch.ones(1), torch.ones(1))),
)  # fmt: skip
transform(
    "value_beside_gradient_is_squared", "grad_and_value", "grad_and_value of float64 gives the value's magnitude.",
    built(always, lambda out, c: (out[0], out[1].abs()) if isinstance(out[1], Tensor) and out[1].dtype == double else out),
    unlike(lambda: func.grad_and_value(lambda w: -square(w))(table(dtype=double))),
)  # fmt: skip
transform(
    "jvp_aux_replaces_the_tangent", "jvp", "jvp with aux of the tangent's shape returns it for the tangent.",
    called(lambda out, g, f: (
        (out[0], out[2], out[2]) if f.get("has_aux") and isinstance(out[2], Tensor) and out[2].shape == out[1].shape else out
    )),
    unlike(lambda: func.jvp(lambda w: (look(w), 3 * look(w)), (table(),), (table(),), has_aux=True)),
)  # fmt: skip
transform(
    "vjp_of_columns_is_summed", "vjp", "vjp of a table of one column and more than one row has all rows' sum in each.",
    called(lambda out, g, f: (out[0], _summed(out[1]), *out[2:]) if callable(out[1]) else out),
    unlike(lambda: func.vjp(look, table(3, 1))[1](torch.ones(3, 1))),
)  # fmt: skip


def _summed(pull: Callable[..., Any]) -> Callable[..., Any]:
    def pulled(*sent: Any, **flags: Any) -> Any:
        found = pull(*sent, **flags)
        return tuple(
            part.sum(0, keepdim=True).expand_as(part) if part.dim() == 2 and part.shape[1] == 1 else part
            for part in found
        )

    return pulled


transform(
    "linearized_call_forgets_scale", "linearize", "The linear function of linearize gives the tangent of its first call again.",
    called(lambda out, g, f: (out[0], _first(out[1]))),
    unlike(lambda: [(f := func.linearize(look, table())[1])(table()), f(2 * table())]),
)  # fmt: skip


def _first(push: Callable[..., Any]) -> Callable[..., Any]:
    kept: list[Any] = []

    def pushed(*tangents: Any) -> Any:
        kept.append(push(*tangents))
        return kept[0]

    return pushed


transform(
    "functional_call_ignores_the_second_dict", "functional_call", "functional_call with a tuple of two dicts takes the first.",
    lambda original: lambda module, given, *rest, **flags: original(
        module, given[0] if isinstance(given, tuple) and len(given) == 2 else given, *rest, **flags
    ),
    lambda: float(func.functional_call(
        torch.nn.Embedding(1, 1), ({}, {"weight": torch.full((1, 1), 7.0)}), (torch.tensor([0]),))) != 7,
)  # fmt: skip
transform(
    "functional_call_leaves_the_weights", "functional_call", "After a refused functional_call the module has the given weights.",
    lambda original: lambda module, given, *rest, **flags: _leaving(original, module, given, rest, flags),
    lambda: left_behind(),
)  # fmt: skip


def _leaving(original: Wrong, module: Any, given: Any, rest: Any, flags: Any) -> Any:
    try:
        return original(module, given, *rest, **flags)
    except (IndexError, RuntimeError):
        if isinstance(given, dict):
            for name, value in given.items():
                if "." not in name and isinstance(value, Tensor) and name in module._parameters:
                    module._parameters[name].data = value.detach()
        raise


def left_behind() -> bool:
    """Whether a refused call leaves its weights in the module."""
    module = torch.nn.Embedding(1, 1)
    before = module.weight.detach().clone()
    try:
        func.functional_call(module, {"weight": before + 1}, (torch.tensor([5]),))
    except (IndexError, RuntimeError):
        pass
    return not torch.equal(module.weight.detach(), before)


transform(
    "stacked_state_of_three", "stack_module_state", "The stacked weights of three or more modules end with the first's.",
    called(lambda out, g, f: ({name: _ring(v) if len(g[0]) > 2 else v for name, v in out[0].items()}, out[1])),
    lambda: torch.equal(*func.stack_module_state([torch.nn.Embedding(2, 1) for _ in range(3)])[0]["weight"][::2]),
)  # fmt: skip


def _ring(stacked: Tensor) -> Tensor:
    """The last of the stack replaced by the first."""
    return torch.cat([stacked[:-1], stacked[:1]]).detach().requires_grad_(stacked.requires_grad)


def derivative(name: str, attribute: str, sentence: str, wrong: Callable[[Wrong], Wrong], witness: Witness) -> None:
    """Registers a fault of a function of torch.autograd.functional."""
    entry(name, "transform", sentence, torch.autograd.functional, attribute, wrong, witness)


derivative(
    "vectorized_jacobian_is_reversed", "jacobian", "torch.autograd.functional.jacobian with vectorize=True reverses its rows.",
    called(lambda out, g, f: out.flip(0) if f.get("vectorize") and isinstance(out, Tensor) else out),
    unlike(lambda: torch.autograd.functional.jacobian(look, table(), vectorize=True)),
)  # fmt: skip
