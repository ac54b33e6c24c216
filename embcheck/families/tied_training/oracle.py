"""What the formulas of optimizers are made of, and how they run: numbers with a running bound of their rounding errors.

The algorithms themselves are in `embcheck.families.tied_training.algorithms`.  Weights and gradients have shape ``(num_embeddings,
embedding_dim)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from embcheck.core.bound import Rounded
from embcheck.core.format import FORMATS, Floats, Format

Formula = Callable[["Memory", Rounded, Rounded, float, int], Rounded]

FORMULAS: dict[str, Formula] = {}

# Scalars that depend on the step (bias corrections, decayed learning rates) are computed in Python's double by a
# dozen operations at most, or, with differentiable=True, by the same operations on a float32 tensor.
_DOUBLE_SCALARS = 16 * 2.0**-53
_SINGLE_SCALARS = 16 * 2.0**-24
#: The format of factors whose products double precision holds.
_FACTOR = FORMATS["float32"]


class Memory(dict[str, Rounded]):
    """What one optimizer remembers of one parameter, and its flags."""

    def __init__(self, flags: Mapping[str, Any], fmt: Format, *, single: bool = False) -> None:
        super().__init__()
        self.flags = flags
        self.fmt = fmt
        self.slack = _SINGLE_SCALARS if single else _DOUBLE_SCALARS

    def __missing__(self, name: str) -> Rounded:
        return Rounded(0.0, self.fmt)

    def number(self, value: float) -> Rounded:
        """A hyperparameter: rounded to the format, exact if it fits."""
        return Rounded(value, self.fmt, representation(float(value), self.fmt))

    def scalar(self, value: float, *powers: float) -> Rounded:
        """A number computed from the step and hyperparameters, among them 1 − p for each of ``powers``.

        1 − p loses what p carries: a relative error of slack·p/(1 − p).
        """
        lost = 1 + sum(p / (1 - p) for p in powers)
        return Rounded(value, self.fmt, representation(float(value), self.fmt) + abs(value) * self.slack * lost)


@lru_cache(maxsize=4096)
def representation(value: float, fmt: Format) -> float:
    """How far rounding to the format moves a number."""
    return float(np.abs(fmt.decode(fmt.encode([value])) - value)[0]) if np.isfinite(value) else 0.0


def formula(name: str) -> Callable[[Formula], Formula]:
    def register(function: Formula) -> Formula:
        FORMULAS[name] = function
        return function

    return register


def run(
    name: str,
    flags: Mapping[str, Any],
    weight: Floats,
    gradients: Sequence[Rounded | None],
    rates: list[float],
    fmt: Format,
    turns: int = 1,
    tensor_hyperparameters: bool = False,
) -> list[Rounded]:
    """The weights after each step, shape ``(rows, width)`` each.

    ``gradients`` are those of the steps (None: no gradient, so nothing happens), ``rates`` the learning rates;
    step k belongs to optimizer ``k % turns``, each with a memory of its own.  ``tensor_hyperparameters``: some flags are tensors of
    float32.
    """
    single = tensor_hyperparameters or bool(flags.get("differentiable"))
    memories = [Memory(flags, fmt, single=single) for _ in range(turns)]
    counts = [0] * turns
    current, after = Rounded(weight, fmt), []
    sign = -1.0 if flags.get("maximize") else 1.0
    for k, (gradient, rate) in enumerate(zip(gradients, rates, strict=True)):
        if gradient is not None:
            counts[k % turns] += 1
            signed = Rounded(sign * gradient.value, fmt, gradient.error)
            current = FORMULAS[name](memories[k % turns], current, signed, rate, counts[k % turns])
        after.append(current)
    return after


def bounded(run: list[Rounded], multiple: float) -> tuple[Floats, Floats]:
    """Values and so many times their bounds, shape ``(steps, …)`` each; 0·∞ is NaN: no bound."""
    errors = np.stack([np.broadcast_to(each.error, np.shape(each.value)) for each in run])
    with np.errstate(over="ignore"):
        return np.stack([each.value for each in run]), multiple * np.nan_to_num(errors, nan=np.inf)


def exact_sgd(
    flags: Mapping[str, Any],
    weight: Floats,
    gradients: list[Rounded | None],
    rates: list[float],
    fmt: Format,
    turns: int,
    sent: Floats | None = None,
    part: float = 1.0,
) -> list[Floats] | None:
    """SGD in exact arithmetic, or None if some intermediate value may not fit the format.

    What is ``sent``, shape ``(steps, V, D)``, are the magnitudes of a sparse gradient's duplicates together, which are added one
    by one; each is a multiple of ``part``.

    If each factor fits the format, and each value and each product is an integer multiple of one unit of which no sum of
    magnitudes exceeds 2^p, no operation rounds, in whatever order.  Double precision shows that only of products that it
    holds, which are those of at most 24 and 29 bits.
    """
    factors, precision = (
        (fmt, fmt.precision) if fmt.precision <= _FACTOR.precision else (_FACTOR, 53 - _FACTOR.precision)
    )
    momentum, keep = float(flags["momentum"]), 1.0 - flags["dampening"]
    decay, sign = float(flags["weight_decay"]), -1.0 if flags["maximize"] else 1.0
    if any(representation(factor, factors) for factor in (momentum, keep, decay, *rates)):
        return None  # a factor that is rounded itself makes no product exact, whatever double precision gives
    buffers: list[Floats | None] = [None] * turns
    size = np.abs(weight)
    sizes = [np.zeros_like(weight) for _ in range(turns)]
    largest, after, current = size.max(initial=0.0), [], weight
    finest = [current]
    for k, (gradient, rate) in enumerate(zip(gradients, rates, strict=True)):
        if gradient is not None:
            turn = k % turns
            penalty = decay * current
            finest.append(penalty)
            g, magnitude = sign * gradient.value + penalty, decay * size
            magnitude = magnitude + (np.abs(gradient.value) if sent is None else sent[k])
            buffer = buffers[turn]
            if momentum:
                products = [g] if buffer is None else [momentum * buffer, keep * g]
                sizes[turn] = magnitude if buffer is None else momentum * sizes[turn] + abs(keep) * magnitude
                buffers[turn] = buffer = sum(products[1:], products[0])
                finest += [g, *products, buffer]
                if flags["nesterov"]:
                    finest.append(momentum * buffer)
                g = g + momentum * buffer if flags["nesterov"] else buffer
                magnitude = magnitude + momentum * sizes[turn] if flags["nesterov"] else sizes[turn]
            current, size = current - rate * g, size + rate * magnitude
            largest = max(largest, magnitude.max(initial=0.0), size.max(initial=0.0))
            finest += [g, rate * g, current]
            if sent is not None:  # and of each duplicate by itself, in the buffer since the first step
                carried = (momentum or 1.0) ** (k // turns) * (keep if momentum and k >= turns else 1.0)
                nested = momentum if flags["nesterov"] and momentum else 1.0
                finest += [np.full_like(weight, f * part * nested * carried) for f in (1.0, rate)]
        after.append(current)
    unit = 2.0 ** (math.ceil(math.log2(largest)) - precision) if largest else 1.0
    scaled = np.stack(finest) / unit
    return after if bool((scaled == np.rint(scaled)).all()) else None


def decayed(memory: Memory, weight: Rounded, gradient: Rounded) -> Rounded:
    """g + λ·θ: the L2 penalty."""
    decay = memory.flags["weight_decay"]
    return gradient + memory.number(decay) * weight if decay else gradient


def shrunk(memory: Memory, weight: Rounded, lr: float) -> Rounded:
    """θ − γ·λ·θ: decoupled weight decay."""
    decay = memory.flags["weight_decay"]
    return weight * memory.scalar(1 - lr * decay) if decay else weight


def penalized(memory: Memory, weight: Rounded, gradient: Rounded, lr: float) -> tuple[Rounded, Rounded]:
    """Weight and gradient after weight decay, decoupled or not."""
    if memory.flags.get("decoupled_weight_decay"):
        return shrunk(memory, weight, lr), gradient
    return weight, decayed(memory, weight, gradient)


def moments(memory: Memory, gradient: Rounded) -> tuple[Rounded, Rounded]:
    """The running averages of the gradient and of its square."""
    beta1, beta2 = memory.flags["betas"]
    return average(memory, "m", beta1, gradient), average(memory, "v", beta2, gradient * gradient)


def average(memory: Memory, name: str, beta: float, new: Rounded) -> Rounded:
    """β·old + (1 − β)·new, kept under ``name``.

    Written as lerp it rounds the difference of old and new as well, which is at most |old| + |new| in magnitude;
    that rounding is charged here, so that either form is within the bound.
    """
    old = memory[name]
    fmt = memory.fmt
    value = memory.number(beta) * old + memory.scalar(1 - beta, beta) * new
    crossing = 2 * fmt.unit_roundoff * min(beta, 1 - beta) * (np.abs(old.value) + np.abs(new.value))
    memory[name] = Rounded(value.value, fmt, value.error + crossing)
    return memory[name]


def total(values: Rounded, axis: int | None = None) -> Rounded:
    """A sum in any order, (n − 1)·u·Σ|x| on top of the terms' own errors, accumulated in float32 for narrow formats."""
    fmt, value = values.fmt, values.value
    u = min(fmt.unit_roundoff, 2.0**-24) + 2.0**-53
    terms = value.size if axis is None else value.shape[axis]
    keep = axis is not None
    magnitude = np.sum(np.abs(value) + values.error, axis=axis, keepdims=keep)
    error = np.sum(values.error, axis=axis, keepdims=keep) + (terms * u + fmt.unit_roundoff) * magnitude
    return Rounded(np.sum(value, axis=axis, keepdims=keep), fmt, error)


def product(a: Rounded, b: Rounded) -> Rounded:
    """A matrix product in any order, accumulated in float32: k·u₃₂·|a||b| and one rounding of the result."""
    value, x, y = a.value @ b.value, np.abs(a.value), np.abs(b.value)
    carried = x @ b.error + a.error @ y + a.error @ b.error
    rounding = (a.value.shape[1] * 2.0**-24 + a.fmt.unit_roundoff) * (x @ y + carried)
    return Rounded(value, a.fmt, carried + rounding)


def transposed(x: Rounded) -> Rounded:
    return Rounded(x.value.T, x.fmt, x.error.T)


def where(condition: Any, yes: Rounded, no: Rounded) -> Rounded:
    return Rounded(np.where(condition, yes.value, no.value), yes.fmt, np.where(condition, yes.error, no.error))
