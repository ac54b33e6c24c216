"""The learning rates that each schedule gives, as its documentation says; knows no torch."""

from __future__ import annotations

import numpy as np

#: Learning rate before step k as a multiple of the first one's.
RATES: dict[str, tuple[float, ...]] = {
    "constant": (1.0,) * 8,
    "step_lr": tuple(0.5**k for k in range(8)),
    "step_lr_two": tuple(0.25 ** (k // 2) for k in range(8)),
    "multi_step": tuple(0.5 ** ((k >= 1) + (k >= 3)) for k in range(8)),
    "constant_lr": tuple(0.5 if k < 2 else 1.0 for k in range(8)),
    "linear": tuple(0.5 + 0.25 * min(k, 2) for k in range(8)),
    "exponential": tuple(0.5**k for k in range(8)),
    "polynomial": tuple(max(0.0, 1 - k / 4) for k in range(8)),
    "cosine": tuple((1 + np.cos(np.pi * k / 4)) / 2 for k in range(8)),
    "warm_restarts": tuple((1 + np.cos(np.pi * (k % 2) / 2)) / 2 for k in range(8)),
    "harmonic": tuple(1 / (k + 1) for k in range(8)),
    "multiplicative": tuple(0.5**k for k in range(8)),
    "plateau": tuple(0.5 ** max(0, k - 1) for k in range(8)),
    "sequential": (0.5, 0.5, *(0.5 ** (k - 2) for k in range(2, 8))),
    "chained": tuple((0.5 if k < 2 else 1.0) * 0.5**k for k in range(8)),
}
