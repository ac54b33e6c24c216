"""The algorithm boxes of torch.optim's documentation, step by step.

Each formula is a function ``(memory, weight, gradient, lr, t) -> weight`` over `Rounded` values; ``memory`` carries
what the algorithm keeps between steps and its flags, ``t`` counts the steps from one.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from embcheck.core.bound import Rounded
from embcheck.core.format import FORMATS, Floats, Format
from embcheck.families.tied_training.oracle import (
    Formula,
    Memory,
    average,
    decayed,
    moments,
    penalized,
    product,
    representation,
    shrunk,
    total,
    transposed,
    where,
)


def sgd(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags = memory.flags
    g = decayed(memory, weight, gradient)
    if flags["momentum"]:
        momentum = memory.number(flags["momentum"])
        memory["b"] = momentum * memory["b"] + memory.scalar(1 - flags["dampening"]) * g if t > 1 else g
        g = g + momentum * memory["b"] if flags["nesterov"] else memory["b"]
    return weight - memory.scalar(lr) * g


def adam(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags, (beta1, beta2) = memory.flags, memory.flags["betas"]
    weight, g = penalized(memory, weight, gradient, lr)
    m, v = moments(memory, g)
    if flags["amsgrad"]:
        v = memory["max"] = memory["max"].maximum(v)
    root = v.sqrt() / memory.scalar(math.sqrt(1 - beta2**t), beta2**t)
    return weight - memory.scalar(lr / (1 - beta1**t), beta1**t) * m / (root + memory.number(flags["eps"]))


def adamw(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    memory.flags = {**memory.flags, "decoupled_weight_decay": True}
    return adam(memory, weight, gradient, lr, t)


def sparse_adam(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    """Adam on the materialized rows; ``gradient`` is NaN in the others."""
    present = ~np.isnan(gradient.value)
    fmt, (beta1, beta2) = memory.fmt, memory.flags["betas"]
    g = Rounded(np.where(present, gradient.value, 0.0), fmt)
    m, v = (_masked(memory, name, beta, new, present) for name, beta, new in (("m", beta1, g), ("v", beta2, g * g)))
    rate = memory.scalar(lr * math.sqrt(1 - beta2**t) / (1 - beta1**t), beta1**t, beta2**t)
    moved = weight - rate * (m / (v.sqrt() + memory.number(memory.flags["eps"])))
    return where(present, moved, weight)


def _masked(memory: Memory, name: str, beta: float, new: Rounded, present: Any) -> Rounded:
    old = memory[name]
    updated = average(memory, name, beta, new)
    memory[name] = where(present, updated, old)
    return updated


def adagrad(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags = memory.flags
    g = decayed(memory, weight, gradient)
    start = memory["sum"] if t > 1 else memory.number(flags["initial_accumulator_value"])
    memory["sum"] = start + g * g
    rate = memory.scalar(lr / (1 + (t - 1) * flags["lr_decay"]))
    return weight - rate * g / (memory["sum"].sqrt() + memory.number(flags["eps"]))


def rmsprop(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags = memory.flags
    g = decayed(memory, weight, gradient)
    v = average(memory, "v", flags["alpha"], g * g)
    if flags["centered"]:
        mean = average(memory, "mean", flags["alpha"], g)
        v = v - mean * mean
        # So near to zero the difference may come out negative, and then its root is no number.
        v = Rounded(v.value, v.fmt, np.where(v.value > v.error, v.error, np.inf))
    step = g / (v.sqrt() + memory.number(flags["eps"]))
    if flags["momentum"] > 0:
        step = memory["b"] = memory.number(flags["momentum"]) * memory["b"] + step
    return weight - memory.scalar(lr) * step


def nadam(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags, (beta1, beta2) = memory.flags, memory.flags["betas"]
    weight, g = penalized(memory, weight, gradient, lr)
    mus = [beta1 * (1 - 0.96 ** (i * flags["momentum_decay"]) / 2) for i in range(1, t + 2)]
    m, v = moments(memory, g)
    denominator = (v / memory.scalar(1 - beta2**t, beta2**t)).sqrt() + memory.number(flags["eps"])
    # The product of the μ is kept in float32, whatever the parameter's dtype.
    past = math.prod(mus[:-1])
    kept = 2 * t * 2.0**-24
    ahead, now = lr * mus[-1] / (1 - math.prod(mus)), lr * (1 - mus[-2]) / (1 - past)
    first = Rounded(ahead, memory.fmt, abs(ahead) * (kept * past * mus[-1] / (1 - past * mus[-1]) + memory.slack))
    second = Rounded(now, memory.fmt, abs(now) * (kept * past / (1 - past) + memory.slack))
    return weight - second * g / denominator - first * m / denominator


def radam(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags, (beta1, beta2) = memory.flags, memory.flags["betas"]
    weight, g = penalized(memory, weight, gradient, lr)
    m, v = moments(memory, g)
    step = memory.scalar(lr) * (m / memory.scalar(1 - beta1**t, beta1**t))
    limit = 2 / (1 - beta2) - 1
    rho = limit - 2 * t * beta2**t / (1 - beta2**t)
    if rho > 5:
        rectified = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
        # ρ_t is a difference of numbers near 2/(1−β₂): its own relative error is that much larger.
        lost = memory.slack * 8 * limit / (rho - 4)
        factor = Rounded(rectified * math.sqrt(1 - beta2**t), memory.fmt, rectified * lost)
        step = step * factor / (v.sqrt() + memory.number(flags["eps"]))
    return weight - step


def adamax(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags, (beta1, beta2) = memory.flags, memory.flags["betas"]
    g = decayed(memory, weight, gradient)
    m = average(memory, "m", beta1, g)
    u = memory["u"] = (memory.number(beta2) * memory["u"]).maximum(abs(g) + memory.number(flags["eps"]))
    return weight - memory.scalar(lr / (1 - beta1**t), beta1**t) * m / u


def adadelta(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    flags = memory.flags
    g = decayed(memory, weight, gradient)
    eps = memory.number(flags["eps"])
    v = average(memory, "v", flags["rho"], g * g)
    step = (memory["u"] + eps).sqrt() / (v + eps).sqrt() * g
    average(memory, "u", flags["rho"], step * step)
    return weight - memory.scalar(lr) * step


def asgd(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    """Polyak and Juditsky 1992, with η_t = γ / (1 + λγ(t − 1))^α; the first step takes γ itself."""
    flags = memory.flags
    g = decayed(memory, weight, gradient)
    # η is kept from the step before, in float32, with the learning rate of that step.
    previous = memory["eta"] if t > 1 else memory.scalar(lr)
    eta = Rounded(previous.value, memory.fmt, previous.error + np.abs(previous.value) * 2.0**-23)
    following = lr / (1 + flags["lambd"] * lr * t) ** flags["alpha"]
    memory["eta"] = memory.scalar(following)
    return weight * (1 - memory.number(flags["lambd"]) * eta) - eta * g


def rprop(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    (minus, plus), (least, most) = memory.flags["etas"], memory.flags["step_sizes"]
    fmt = memory.fmt
    agreement = np.sign(gradient.value) * np.sign(memory["previous"].value)
    factor = np.where(agreement > 0, plus, np.where(agreement < 0, minus, 1.0))
    inexact = np.where(agreement < 0, representation(minus, fmt), 0.0)
    rounding = np.where(agreement > 0, representation(plus, fmt), inexact)
    size = memory["size"] if t > 1 else memory.scalar(lr)
    size = size * Rounded(factor, fmt, rounding)
    low, high = memory.number(least), memory.number(most)
    # min and max of two values move by at most the larger of their errors.
    either = np.maximum(size.error, max(float(low.error), float(high.error)))
    size = Rounded(np.clip(size.value, least, most), fmt, either)
    kept = np.where(agreement < 0, 0.0, gradient.value)
    memory["size"], memory["previous"] = size, Rounded(kept, fmt)
    return weight - size * Rounded(np.sign(kept), fmt)


def adafactor(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    """With the factors as means of rows and columns, which differ from the box's sums by what cancels in V̂; a vector
    has none."""
    flags, fmt = memory.flags, memory.fmt
    eps1, eps2 = flags["eps"]
    eps1 = 2.0 ** (1 - fmt.precision) if eps1 is None else eps1
    keep, count = float(t) ** flags["beta2_decay"], gradient.value.size
    root_mean = (total(weight * weight) / memory.scalar(count)).sqrt()
    alpha = memory.scalar(min(lr, 1 / math.sqrt(t))) * root_mean.maximum(memory.number(eps2))
    weight = shrunk(memory, weight, lr)
    square = gradient * gradient
    if gradient.value.ndim < 2:
        estimate = average(memory, "square", 1 - keep, square)
    else:
        *_, rows, width = gradient.value.shape
        row = average(memory, "row", 1 - keep, total(square, -1) / memory.scalar(width))
        column = average(memory, "column", 1 - keep, total(square, -2) / memory.scalar(rows))
        mean = total(row, -2) / memory.scalar(rows)
        outer = row * column
        if outer.value.max(initial=0.0) >= 2.0**fmt.emax:
            return Rounded(weight.value, fmt, np.inf)  # overflows in half precision
        estimate = outer / mean.maximum(memory.number(eps1))
    update = gradient / estimate.maximum(memory.scalar(eps1 * eps1)).sqrt()
    spread = (total(update * update) / memory.scalar(count)).sqrt() / memory.scalar(flags["d"])
    return weight - alpha / spread.maximum(1.0) * update


def muon(memory: Memory, weight: Rounded, gradient: Rounded, lr: float, t: int) -> Rounded:
    """Newton and Schulz's iteration runs in bfloat16 whatever the parameter's format."""
    flags, fmt, half = memory.flags, memory.fmt, FORMATS["bfloat16"]
    momentum = memory.number(flags["momentum"])
    buffer = memory["b"] = momentum * memory["b"] + gradient
    update = gradient + momentum * buffer if flags["nesterov"] else buffer
    rows, width = update.value.shape
    x = Rounded(update.value, half, update.error + half.unit_roundoff * np.abs(update.value))
    if rows > width:
        x = Rounded(x.value.T, half, x.error.T)
    norm = total(x * x).sqrt().maximum(flags["eps"])
    x = x / norm
    a, b, c = (Rounded(number, half, representation(number, half)) for number in flags["ns_coefficients"])
    for _ in range(flags["ns_steps"]):
        gram = product(x, transposed(x))
        x = a * x + product(b * gram + c * product(gram, gram), x)
    if rows > width:
        x = transposed(x)
    match flags["adjust_lr_fn"]:
        case "match_rms_adamw":
            rate = 0.2 * lr * math.sqrt(max(rows, width))
        case _:
            rate = lr * math.sqrt(max(1.0, rows / width)) if width else lr  # by which nothing is stepped
    return shrunk(memory, weight, lr) - memory.scalar(rate) * Rounded(x.value, fmt, x.error)


#: The formula of each optimizer, but for L-BFGS.
FORMULAS: dict[str, Formula] = {
    "SGD": sgd, "Adam": adam, "AdamW": adamw, "SparseAdam": sparse_adam, "Adagrad": adagrad, "RMSprop": rmsprop,
    "NAdam": nadam, "RAdam": radam, "Adamax": adamax, "Adadelta": adadelta, "ASGD": asgd, "Rprop": rprop,
    "Adafactor": adafactor, "Muon": muon,
}  # fmt: skip


def lbfgs_first_step(
    flags: Mapping[str, Any], weight: Floats, gradient: Floats, bias_gradient: Floats, lr: float, fmt: Format
) -> Rounded:
    """The first step of L-BFGS on a linear loss: the gradient does not change, so the direction stays −g.

    The first iteration is shortened to min(1, 1/‖g‖₁) (minFunc, Schmidt 2005), later ones take the learning rate.
    """
    memory, current = Memory(flags, fmt), Rounded(weight, fmt)
    length = float(np.abs(gradient).sum() + np.abs(bias_gradient).sum())
    largest = max(float(np.abs(gradient).max(initial=0)), float(np.abs(bias_gradient).max(initial=0)))
    if largest <= flags["tolerance_grad"]:
        return current
    most = flags["max_iter"] * 5 // 4 if flags["max_eval"] is None else flags["max_eval"]
    shortened = min(1.0, 1 / length)
    first = Rounded(shortened, fmt, fmt.unit_roundoff * 4 * shortened)  # a sum of integers, a division, a minimum
    for iteration in range(1, flags["max_iter"] + 1):
        step = memory.scalar(lr) * first if iteration == 1 else memory.scalar(lr)
        current = current - step * gradient
        if iteration + 1 >= most or float(step.value) * largest <= flags["tolerance_change"]:
            break
    return current


def lbfgs_weights(start: Floats, curvatures: Floats, lr: float, iterations: int, history: int) -> tuple[Floats, Floats]:
    """The weights after some iterations on half the sum of curvatures times squares, in float64, and their bound.

    The directions are those of the two-loop recursion (Nocedal and Wright 2006, algorithm 7.4) with the last pairs of a move and
    of the gradients' difference.
    """
    point = Rounded(start, FORMATS["float64"])
    slope = point * curvatures
    move = slope * (-lr * min(1.0, 1.0 / float(np.abs(slope.value).sum())))
    kept: list[tuple[Rounded, Rounded, Rounded]] = []
    for _ in range(iterations - 1):
        point, before = point + move, slope
        slope = point * curvatures
        bend = slope - before
        secant = total(move * bend)
        kept = [*kept, (move, bend, 1.0 / secant)][-history:]
        direction, shares = -slope, []
        for along, across, inverse in reversed(kept):
            shares.append(total(along * direction) * inverse)
            direction = direction - shares[-1] * across
        direction = direction * (secant / total(bend * bend))
        for (along, across, inverse), share in zip(kept, reversed(shares), strict=True):
            direction = direction + (share - total(across * direction) * inverse) * along
        move = direction * lr
    end = point + move
    return end.value, end.error


def asgd_average(case: Any, weights: Floats) -> tuple[Floats, Floats]:
    """ASGD's average of the weights after each step, and its bound, shape ``(V·D,)``."""
    u = case.format.unit_roundoff
    average, error = weights[0], np.zeros(case.shape)
    for count in range(1, case.steps):
        share = 1 / max(1.0, count - float(case.flags["t0"]))
        moved = (weights[count] - average) * share
        # A difference, a product and a sum, by foreach with a share of one too; the share is kept in float32.
        error = (1 - share) * error + 4 * u * (np.abs(weights[count]) + np.abs(average)) + 2**-24 * np.abs(moved)
        average = average + moved if share < 1 else weights[count]
    return average.reshape(-1), 2 * error.reshape(-1)


def muon_buffer(case: Any) -> tuple[Floats, Floats]:
    """Muon's average of the gradients, and its bound, shape ``(V·D,)``."""
    share, u = float(case.flags["momentum"]), case.format.unit_roundoff
    average, error = np.zeros(case.shape), np.zeros(case.shape)
    for gradient in case.due:
        moved = (1 - share) * (gradient.value - average)
        # A difference, a product with a share that is rounded, and a sum; its gradient is rounded, too.
        error = error + gradient.error + 4 * u * (np.abs(gradient.value) + np.abs(average) + error)
        average = average + moved
    return average.reshape(-1), 2 * error.reshape(-1)
