"""The algorithm boxes of torch.optim's documentation, step by step, with a running bound of the rounding errors.

Each formula is a function ``(memory, flags, weight, gradient, lr, t) -> weight`` over `Rounded` values; ``memory``
carries what the algorithm keeps between steps, ``t`` counts them from one.  Weights and gradients have shape
``(num_embeddings, embedding_dim)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from embcheck.bound import Rounded
from embcheck.format import FORMATS, Floats, Format

Formula = Callable[["Memory", Rounded, Rounded, float, int], Rounded]

FORMULAS: dict[str, Formula] = {}

# Scalars that depend on the step (bias corrections, decayed learning rates) are computed in Python's double by a
# dozen operations at most, or, with differentiable=True, by the same operations on a float32 tensor.
_DOUBLE_SCALARS = 16 * 2.0**-53
_SINGLE_SCALARS = 16 * 2.0**-24


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
        return Rounded(value, self.fmt, _representation(float(value), self.fmt))

    def scalar(self, value: float, *powers: float) -> Rounded:
        """A number computed from the step and hyperparameters, among them 1 − p for each of ``powers``.

        1 − p loses what p carries: a relative error of slack·p/(1 − p).
        """
        lost = 1 + sum(p / (1 - p) for p in powers)
        return Rounded(value, self.fmt, _representation(float(value), self.fmt) + abs(value) * self.slack * lost)


@lru_cache(maxsize=4096)
def _representation(value: float, fmt: Format) -> float:
    """How far rounding to the format moves a number."""
    return float(np.abs(fmt.decode(fmt.encode([value])) - value)[0]) if np.isfinite(value) else 0.0


def _formula(name: str) -> Callable[[Formula], Formula]:
    def register(function: Formula) -> Formula:
        FORMULAS[name] = function
        return function

    return register


def run(
    name: str,
    flags: Mapping[str, Any],
    weight: Floats,
    gradients: list[Rounded | None],
    rates: list[float],
    fmt: Format,
    turns: int = 1,
    boxed: bool = False,
) -> list[Rounded]:
    """The weights after each step, shape ``(rows, width)`` each.

    ``gradients`` are those of the steps (None: no gradient, so nothing happens), ``rates`` the learning rates;
    step k belongs to optimizer ``k % turns``, each with a memory of its own.  ``boxed``: some flags are float32 tensors.
    """
    single = boxed or bool(flags.get("differentiable"))
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


def exact_sgd(
    flags: Mapping[str, Any], weight: Floats, gradients: list[Floats | None], rates: list[float], fmt: Format,
    turns: int = 1,
) -> list[Floats] | None:  # fmt: skip
    """SGD in exact arithmetic, or None if some intermediate value may not fit the format.

    With powers of two for every factor each value is an integer multiple of one unit.  If no sum of magnitudes
    exceeds 2^p units, no operation rounds, in whatever order.
    """
    momentum, keep = float(flags["momentum"]), 1.0 - flags["dampening"]
    decay, sign = float(flags["weight_decay"]), -1.0 if flags["maximize"] else 1.0
    buffers: list[Floats | None] = [None] * turns
    size = np.abs(weight)
    sizes = [np.zeros_like(weight) for _ in range(turns)]
    largest, after, current = size.max(initial=0.0), [], weight
    finest = [current]
    for k, (gradient, rate) in enumerate(zip(gradients, rates, strict=True)):
        if gradient is not None:
            turn = k % turns
            g, magnitude = sign * gradient + decay * current, np.abs(gradient) + decay * size
            buffer = buffers[turn]
            if momentum:
                first = buffer is None
                buffer = g if buffer is None else momentum * buffer + keep * g
                sizes[turn] = magnitude if first else momentum * sizes[turn] + abs(keep) * magnitude
                buffers[turn] = buffer
                finest += [g, buffer]
                g = g + momentum * buffer if flags["nesterov"] else buffer
                magnitude = magnitude + momentum * sizes[turn] if flags["nesterov"] else sizes[turn]
            current, size = current - rate * g, size + rate * magnitude
            largest = max(largest, magnitude.max(initial=0.0), size.max(initial=0.0))
            finest += [g, rate * g, current]
        after.append(current)
    unit = 2.0 ** (math.ceil(math.log2(largest)) - fmt.precision) if largest else 1.0
    scaled = np.stack(finest) / unit
    return after if bool((scaled == np.rint(scaled)).all()) else None


def _decayed(memory: Memory, weight: Rounded, gradient: Rounded) -> Rounded:
    """g + λ·θ: the L2 penalty."""
    decay = memory.flags["weight_decay"]
    return gradient + memory.number(decay) * weight if decay else gradient


def _shrunk(memory: Memory, weight: Rounded, lr: float) -> Rounded:
    """θ − γ·λ·θ: decoupled weight decay."""
    decay = memory.flags["weight_decay"]
    return weight * memory.scalar(1 - lr * decay) if decay else weight


def _average(memory: Memory, name: str, beta: float, new: Rounded) -> Rounded:
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


@_formula("SGD")
def sgd(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags = memory.flags
    g = _decayed(memory, weight, gradient)
    if flags["momentum"]:
        momentum = memory.number(flags["momentum"])
        memory["b"] = momentum * memory["b"] + memory.scalar(1 - flags["dampening"]) * g if t > 1 else g
        g = g + momentum * memory["b"] if flags["nesterov"] else memory["b"]
    return weight - memory.number(lr) * g


@_formula("Adam")
def adam(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags, (beta1, beta2) = memory.flags, memory.flags["betas"]
    if flags.get("decoupled_weight_decay"):
        weight, g = _shrunk(memory, weight, lr), gradient
    else:
        g = _decayed(memory, weight, gradient)
    m = _average(memory, "m", beta1, g)
    v = _average(memory, "v", beta2, g * g)
    if flags["amsgrad"]:
        v = memory["max"] = memory["max"].maximum(v)
    root = v.sqrt() / memory.scalar(math.sqrt(1 - beta2**t), beta2**t)
    return weight - memory.scalar(lr / (1 - beta1**t), beta1**t) * m / (root + memory.number(flags["eps"]))


@_formula("AdamW")
def adamw(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    memory.flags = {**memory.flags, "decoupled_weight_decay": True}
    return adam(memory, weight, gradient, lr, t)


@_formula("SparseAdam")
def sparse_adam(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    """Adam on the materialized rows; ``gradient`` is NaN in the others."""
    present = ~np.isnan(gradient.value)
    fmt, (beta1, beta2) = memory.fmt, memory.flags["betas"]
    g = Rounded(np.where(present, gradient.value, 0.0), fmt)
    m, v = (_masked(memory, name, beta, new, present) for name, beta, new in (("m", beta1, g), ("v", beta2, g * g)))
    rate = memory.scalar(lr * math.sqrt(1 - beta2**t) / (1 - beta1**t), beta1**t, beta2**t)
    moved = weight - rate * (m / (v.sqrt() + memory.number(memory.flags["eps"])))
    return _where(present, moved, weight)


def _masked(memory: Memory, name: str, beta: float, new: Rounded, present: Any) -> Rounded:
    old = memory[name]
    updated = _average(memory, name, beta, new)
    memory[name] = _where(present, updated, old)
    return updated


def _where(condition: Any, yes: Rounded, no: Rounded) -> Rounded:
    return Rounded(np.where(condition, yes.value, no.value), yes.fmt, np.where(condition, yes.error, no.error))


@_formula("Adagrad")
def adagrad(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags = memory.flags
    g = _decayed(memory, weight, gradient)
    start = memory["sum"] if t > 1 else memory.number(flags["initial_accumulator_value"])
    memory["sum"] = start + g * g
    rate = memory.scalar(lr / (1 + (t - 1) * flags["lr_decay"]))
    return weight - rate * g / (memory["sum"].sqrt() + memory.number(flags["eps"]))


@_formula("RMSprop")
def rmsprop(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags = memory.flags
    g = _decayed(memory, weight, gradient)
    v = _average(memory, "v", flags["alpha"], g * g)
    if flags["centered"]:
        mean = _average(memory, "mean", flags["alpha"], g)
        v = v - mean * mean
    step = g / (v.sqrt() + memory.number(flags["eps"]))
    if flags["momentum"] > 0:
        step = memory["b"] = memory.number(flags["momentum"]) * memory["b"] + step
    return weight - memory.number(lr) * step


@_formula("NAdam")
def nadam(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags, (beta1, beta2) = memory.flags, memory.flags["betas"]
    if flags["decoupled_weight_decay"]:
        weight, g = _shrunk(memory, weight, lr), gradient
    else:
        g = _decayed(memory, weight, gradient)
    mus = [beta1 * (1 - 0.96 ** (i * flags["momentum_decay"]) / 2) for i in range(1, t + 2)]
    m = _average(memory, "m", beta1, g)
    v = _average(memory, "v", beta2, g * g)
    denominator = (v / memory.scalar(1 - beta2**t, beta2**t)).sqrt() + memory.number(flags["eps"])
    # The product of the μ is kept in float32, whatever the parameter's dtype.
    product = math.prod(mus[:-1])
    kept = 2 * t * 2.0**-24
    ahead, now = lr * mus[-1] / (1 - math.prod(mus)), lr * (1 - mus[-2]) / (1 - product)
    first = Rounded(ahead, memory.fmt, abs(ahead) * (kept * product * mus[-1] / (1 - product * mus[-1]) + memory.slack))
    second = Rounded(now, memory.fmt, abs(now) * (kept * product / (1 - product) + memory.slack))
    return weight - second * g / denominator - first * m / denominator


@_formula("RAdam")
def radam(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags, (beta1, beta2) = memory.flags, memory.flags["betas"]
    if flags["decoupled_weight_decay"]:
        weight, g = _shrunk(memory, weight, lr), gradient
    else:
        g = _decayed(memory, weight, gradient)
    m = _average(memory, "m", beta1, g)
    v = _average(memory, "v", beta2, g * g)
    step = memory.number(lr) * (m / memory.scalar(1 - beta1**t, beta1**t))
    limit = 2 / (1 - beta2) - 1
    rho = limit - 2 * t * beta2**t / (1 - beta2**t)
    if rho > 5:
        rectified = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
        # ρ_t is a difference of numbers near 2/(1−β₂): its own relative error is that much larger.
        lost = memory.slack * 8 * limit / (rho - 4)
        factor = Rounded(rectified * math.sqrt(1 - beta2**t), memory.fmt, rectified * lost)
        step = step * factor / (v.sqrt() + memory.number(flags["eps"]))
    return weight - step


@_formula("Adamax")
def adamax(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags, (beta1, beta2) = memory.flags, memory.flags["betas"]
    g = _decayed(memory, weight, gradient)
    m = _average(memory, "m", beta1, g)
    u = memory["u"] = (memory.number(beta2) * memory["u"]).maximum(abs(g) + memory.number(flags["eps"]))
    return weight - memory.scalar(lr / (1 - beta1**t), beta1**t) * m / u


@_formula("Adadelta")
def adadelta(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags = memory.flags
    g = _decayed(memory, weight, gradient)
    eps = memory.number(flags["eps"])
    v = _average(memory, "v", flags["rho"], g * g)
    step = (memory["u"] + eps).sqrt() / (v + eps).sqrt() * g
    _average(memory, "u", flags["rho"], step * step)
    return weight - memory.number(lr) * step


@_formula("ASGD")
def asgd(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    """Polyak and Juditsky 1992, with η_t = γ / (1 + λγ(t − 1))^α; the first step takes γ itself."""
    flags = memory.flags
    g = _decayed(memory, weight, gradient)
    # η is kept from the step before, in float32, with the learning rate of that step.
    previous = memory["eta"] if t > 1 else memory.number(lr)
    eta = Rounded(previous.value, memory.fmt, previous.error + np.abs(previous.value) * 2.0**-23)
    following = lr / (1 + flags["lambd"] * lr * t) ** flags["alpha"]
    memory["eta"] = memory.scalar(following)
    return weight * (1 - memory.number(flags["lambd"]) * eta) - eta * g


@_formula("Rprop")
def rprop(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    (minus, plus), (least, most) = memory.flags["etas"], memory.flags["step_sizes"]
    fmt = memory.fmt
    agreement = np.sign(gradient.value) * np.sign(memory["previous"].value)
    factor = np.where(agreement > 0, plus, np.where(agreement < 0, minus, 1.0))
    rounding = np.where(agreement > 0, _representation(plus, fmt), np.where(agreement < 0, _representation(minus, fmt), 0))
    size = memory["size"] if t > 1 else memory.number(lr)
    size = size * Rounded(factor, fmt, rounding)
    low, high = memory.number(least), memory.number(most)
    # min and max of two values move by at most the larger of their errors.
    size = Rounded(np.clip(size.value, least, most), fmt, np.maximum(size.error, max(float(low.error), float(high.error))))
    kept = np.where(agreement < 0, 0.0, gradient.value)
    memory["size"], memory["previous"] = size, Rounded(kept, fmt)
    return weight - size * Rounded(np.sign(kept), fmt)


def _total(values: Rounded, axis: int | None = None) -> Rounded:
    """A sum in any order: (n − 1)·u·Σ|x| on top of the terms' own errors."""
    fmt, value = values.fmt, values.value
    terms = value.size if axis is None else value.shape[axis]
    keep = axis is not None
    magnitude = np.sum(np.abs(value) + values.error, axis=axis, keepdims=keep)
    error = np.sum(values.error, axis=axis, keepdims=keep) + terms * (fmt.unit_roundoff + 2.0**-53) * magnitude
    return Rounded(np.sum(value, axis=axis, keepdims=keep), fmt, error)


@_formula("Adafactor")
def adafactor(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    """With the factors as means of rows and columns, which differ from the box's sums by what cancels in V̂."""
    flags, fmt = memory.flags, memory.fmt
    eps1, eps2 = flags["eps"]
    eps1 = 2.0 ** (1 - fmt.precision) if eps1 is None else eps1
    rows, width = gradient.value.shape
    keep = float(t) ** flags["beta2_decay"]
    root_mean = (_total(weight * weight) / memory.scalar(rows * width)).sqrt()
    alpha = memory.scalar(min(lr, 1 / math.sqrt(t))) * root_mean.maximum(memory.number(eps2))
    weight = _shrunk(memory, weight, lr)
    square = gradient * gradient
    row = _average(memory, "row", 1 - keep, _total(square, 1) / memory.scalar(width))
    column = _average(memory, "column", 1 - keep, _total(square, 0) / memory.scalar(rows))
    mean = _total(row, 0) / memory.scalar(rows)
    estimate = (row * column) / mean.maximum(memory.number(eps1))
    update = gradient / estimate.maximum(memory.scalar(eps1 * eps1)).sqrt()
    spread = (_total(update * update) / memory.scalar(rows * width)).sqrt() / memory.scalar(flags["d"])
    return weight - alpha / spread.maximum(1.0) * update
