"""The data of a tied training: the table, tokens, hidden states and upstream gradients, and what follows for each path."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.bound import Rounded
from embcheck.core.format import FORMATS, Floats
from embcheck.core.pattern import Ints

#: Tokens that are looked up, and hidden states that the head sees, in each step.
TOKENS = 3
#: How often the parameter is looked up in each tie.
LOOKUPS = {"three_way": 2}


class Data(NamedTuple):
    """What is fed: tokens ``(steps, n)``; hidden and below ``(steps, n, D)``; above ``(steps, n, V)``; the table."""

    tokens: Ints
    hidden: Floats
    below: Floats
    above: Floats
    weight: Floats
    bias: Floats


def whole(shape: tuple[int, ...], most: int, *seed: object) -> Floats:
    """Numbers ±1 … ±most, by a seed."""
    words = stream.words(stream.derive(*seed), math.prod(shape))
    sign = np.where(words >> np.uint64(63), -1.0, 1.0)
    return (sign * (1.0 + ((words >> np.uint64(8)) % np.uint64(most)).astype(np.float64))).reshape(shape)


@lru_cache(maxsize=2048)
def fed_data(shape: tuple[int, int], steps: int, variant: int, rough: str = "") -> Data:
    """Small whole numbers, so that all sums of them are exact; the table's have whole significands of a dtype if it is to be
    ``rough``, which rounds at every step."""
    rows, width = shape
    # With an odd variant the last row gets no gradient at all.
    used = rows - 1 if rows > 1 and variant % 2 else rows

    def small(name: str, most: int, *size: int) -> Floats:
        return whole(size, most, "tying", name, variant, *size)

    tokens = stream.below(stream.derive("tying", "tokens", variant), steps * TOKENS, used).reshape(steps, TOKENS)
    above = small("above", 2, steps, TOKENS, rows)
    above[:, :, used:] = 0
    weight = small("weight", 3, rows, width)
    if rough:
        words = stream.words(stream.derive("tying", "rough", variant), weight.size).reshape(shape)
        fmt = FORMATS[rough]
        weight = fmt.rounded(weight * (1 + (words >> np.uint64(11)) / 2.0**53))
    # A gradient whose two paths cancel somewhere, and one that changes sign from step to step, come by themselves.
    hidden, below = (small(name, 2, steps, TOKENS, width) for name in ("hidden", "below"))
    return Data(tokens, hidden, below, above, weight, small("bias", 3, rows))


def one_hot_of(tokens: Ints, rows: int, padding_row: int | None) -> Floats:
    """One-hot vectors of the tokens that send a gradient to the table, zeros for those of the padding row, ``(…, V)``."""
    one_hot: Floats = np.eye(rows)[tokens]
    if padding_row is not None:
        one_hot[..., padding_row] = 0
    return one_hot


@lru_cache(maxsize=2048)
def paths(shape: tuple[int, int], steps: int, variant: int, padding_row: int | None) -> tuple[Floats, Floats, Floats]:
    """The gradients of the lookup and of the head, ``(steps, V, D)``, and of the bias, ``(steps, V)``."""
    data = fed_data(shape, steps, variant)
    lookup: Floats = one_hot_of(data.tokens, shape[0], padding_row).transpose(0, 2, 1) @ data.below
    head: Floats = data.above.transpose(0, 2, 1) @ data.hidden
    return lookup, head, data.above.sum(1)


def gradients_of(case: Any) -> tuple[Floats, Floats]:
    """dL/dW and dL/db of a case's steps; zero where there is none."""
    lookup, head, bias = paths(case.shape, case.steps, case.seed % 16, case.padding_row)
    if case.backward_pass == "composed":
        data = case.data
        one_hot = one_hot_of(data.tokens[0], case.shape[0], case.padding_row)
        score = one_hot.T @ (data.above[0] @ data.weight) + data.above[0].T @ data.weight[data.tokens[0]]
        return score[None], bias[:1]
    through = {"both": (1, 1), "lookup": (1, 0), "head": (0, 1)}
    parts = np.array([through[route] for route in case.routes], np.float64) * np.array(case.passes)[:, None]
    weight = parts[:, :1, None] * LOOKUPS.get(case.tie, 1) * lookup + parts[:, 1:, None] * head
    bias = parts[:, 1:] * bias
    # Adding 0.0 makes a plus of the minus zeros that a product with 0 leaves.
    return (np.cumsum(weight, 0), np.cumsum(bias, 0)) if case.zero == "never" else (weight + 0.0, bias + 0.0)


def sent_by(case: Any) -> Floats:
    """The magnitudes of all that the lookups of each step send to each row, together, shape ``(steps, V, D)``."""
    data = case.data
    one_hot = one_hot_of(data.tokens, case.shape[0], case.padding_row)
    times = np.array(case.passes, np.float64)[:, None, None] * LOOKUPS.get(case.tie, 1)
    sent: Floats = times * (one_hot.transpose(0, 2, 1) @ np.abs(data.below))
    return np.cumsum(sent, 0) if case.zero == "never" else sent


def present(gradient: Rounded, tokens: Any) -> Rounded:
    """A sparse gradient: NaN where no row is materialized."""
    absent = np.ones((len(gradient.value), 1), np.bool_)
    absent[tokens] = False
    return Rounded(np.where(absent, np.nan, gradient.value), gradient.fmt)
