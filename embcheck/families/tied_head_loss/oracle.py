"""What a loss sends back through a tied head: dZ = g (softmax(Z) Σ A − A), and from it every gradient, each with its bound."""

from functools import lru_cache

import numpy as np

from embcheck.core.bound import gamma
from embcheck.core.format import Floats
from embcheck.families.tied_head_loss.cases import TRANSCENDENTAL, TiedHeadLossCase


def _floor(case: TiedHeadLossCase) -> float:
    """The smallest normal number: what lies below it may be flushed to zero, or have lost its digits in exp."""
    return 2.0**case.format.emin


@lru_cache(maxsize=1)  # several laws ask it of one case
def of_logits(case: TiedHeadLossCase) -> tuple[Floats, Floats]:
    """dZ, shape ``(numel, num_embeddings)``, and its bound, which is zero for what is ignored.

    A logarithm that is off by δ makes a share that is off by a factor of e^δ at most.
    """
    logarithms, off = case.logarithms
    u, sent = case.roundoff, np.broadcast_to(case.upstream.reshape(-1, 1), (case.numel, 1))
    share = np.exp(logarithms)
    mass = case.coefficients.sum(axis=1, keepdims=True)
    relative = np.expm1(np.minimum(off, 10.0)) + gamma(case.num_embeddings + 12 + TRANSCENDENTAL, u)
    bound = share * mass * relative + 12 * u * case.coefficients + _floor(case) * (mass + 1)
    return sent * (share * mass - case.coefficients), abs(sent) * bound * (mass > 0)


@lru_cache(maxsize=1)  # several laws ask it of one case
def of_hidden(case: TiedHeadLossCase) -> tuple[Floats, Floats]:
    """dH = dZ W, shape ``(numel, embedding_dim)``, and its bound: sums of C products."""
    arriving, off = of_logits(case)
    size = (abs(arriving) + off) @ abs(case.weight)
    bound = off @ abs(case.weight) + gamma(case.num_embeddings + 2, case.roundoff) * size
    return arriving @ case.weight, bound + _floor(case) * (size > 0)


def of_table(case: TiedHeadLossCase) -> tuple[Floats, Floats]:
    """dW = dZᵀ H, and for each row but padding's what arrives at the tokens that looked it up; with its bound."""
    arriving, off = of_logits(case)
    rows, (back, back_off) = case.weight[case.tokens], of_hidden(case)
    looked = (np.arange(case.num_embeddings)[:, None] == case.tokens).astype(np.float64)
    if case.padding_idx is not None:
        looked[case.padding_idx] = 0.0
    size = (abs(arriving) + off).T @ abs(rows) + looked @ (abs(back) + back_off)
    bound = off.T @ abs(rows) + looked @ back_off + gamma(2 * case.numel + 4, case.roundoff) * size
    return arriving.T @ rows + looked @ back, bound + 2 * _floor(case) * (size > 0)


def of_targets(case: TiedHeadLossCase) -> tuple[Floats, Floats]:
    """The gradient of distributions, −log softmax(Z) by what A multiplies them with, shape ``(numel, num_embeddings)``, and its
    bound."""
    logarithms, off = case.logarithms
    divided = np.where(case.divisors, case.divisors, 1.0).reshape(-1, 1)
    factor = case.upstream.reshape(-1, 1) * (1 - case.label_smoothing) * case.class_weights / divided
    size = abs(factor) * (abs(logarithms) + off)
    bound = abs(factor) * off + gamma(12, case.roundoff) * size + _floor(case) * (size > 0)
    return -factor * logarithms, bound


def of_bias(case: TiedHeadLossCase) -> tuple[Floats, Floats]:
    """Σ dZ over the tokens, and its bound."""
    arriving, off = of_logits(case)
    size = (abs(arriving) + off).sum(axis=0)
    return arriving.sum(axis=0), off.sum(axis=0) + gamma(case.numel + 1, case.roundoff) * size
