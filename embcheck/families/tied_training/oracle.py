"""What the formulas of optimizers are made of, and how they run: numbers with a running bound of their rounding errors.

The algorithms themselves are in `embcheck.families.tied_training.algorithms`.  Weights and gradients have shape ``(num_embeddings,
embedding_dim)``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from embcheck.core.bound import Rounded
from embcheck.core.format import Floats, Format

Formula = Callable[["Memory", Rounded, Rounded, float, int], Rounded]

#: Another order of evaluation (foreach and fused kernels fold scalars, multiply by reciprocals, or keep products in
#: one multiply-add) rounds at most twice as often as the box read from left to right.
MULTIPLE = 2.0

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
    return float(np.abs(fmt.rounded([value]) - value)[0]) if np.isfinite(value) else 0.0


class Steps(NamedTuple):
    """What is stepped: the flags of the optimizer, the weight at first, and of each step the gradient (None: there is none, so
    nothing happens) and the learning rate.

    Step k belongs to optimizer ``k % turns``, each with a memory of its own.
    """

    flags: Mapping[str, Any]
    weight: Floats
    gradients: Sequence[Rounded | None]
    rates: Sequence[float]
    format: Format
    turns: int = 1


def run(
    formula: Formula, steps: Steps, tensor_hyperparameters: bool = False, multiple: float = MULTIPLE
) -> tuple[Floats, Floats]:
    """The weights after each step and so many times their bounds, shape ``(steps, …)`` each; ``tensor_hyperparameters``: some
    flags are tensors of float32."""
    single = tensor_hyperparameters or bool(steps.flags.get("differentiable"))
    memories = [Memory(steps.flags, steps.format, single=single) for _ in range(steps.turns)]
    after = stepped(formula, memories, Rounded(steps.weight, steps.format), steps)
    errors = np.stack([np.broadcast_to(each.error, np.shape(each.value)) for each in after])
    with np.errstate(over="ignore"):  # 0·∞ is NaN: no bound
        return np.stack([each.value for each in after]), multiple * np.nan_to_num(errors, nan=np.inf)


def stepped(formula: Formula, memories: Sequence[Memory], current: Rounded, steps: Steps) -> list[Rounded]:
    """The weights after each step, by optimizers in turn."""
    counts, after = [0] * len(memories), []
    for k, (gradient, rate) in enumerate(zip(steps.gradients, steps.rates, strict=True)):
        if gradient is not None:
            turn = k % len(memories)
            counts[turn] += 1
            memory = memories[turn]
            signed = -gradient if memory.flags.get("maximize") else gradient
            current = formula(memory, current, signed, rate, counts[turn])
        after.append(current)
    return after


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
