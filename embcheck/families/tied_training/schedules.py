"""Learning-rate schedules of a run: what each is made with, and the rates that its documentation says; knows no torch."""

from __future__ import annotations

from embcheck.families.lr_scheduler.oracle import Scheduler, cosine, made, part

#: The rate of an epoch is here a multiple of the first one's.
SCHEDULES: dict[str, Scheduler | None] = {
    "constant": None,
    "step_lr": made("StepLR", lambda base, k, g: base * 0.5**k, 1, 0.5),
    "step_lr_two": made("StepLR", lambda base, k, g: base * 0.25 ** (k // 2), step_size=2, gamma=0.25),
    "multi_step": made("MultiStepLR", lambda base, k, g: base * 0.5 ** ((k >= 1) + (k >= 3)), [1, 3], 0.5),
    "constant_lr": made("ConstantLR", lambda base, k, g: base * (0.5 if k < 2 else 1.0), 0.5, 2),
    "linear": made("LinearLR", lambda base, k, g: base * (0.5 + 0.25 * min(k, 2)), 0.5, 1.0, 2),
    "exponential": made("ExponentialLR", lambda base, k, g: base * 0.5**k, 0.5),
    "polynomial": made("PolynomialLR", lambda base, k, g: base * max(0.0, 1 - k / 4), 4, 1.0),
    "cosine": made("CosineAnnealingLR", lambda base, k, g: cosine(base, 0.0, k / 4), 4),
    "warm_restarts": made("CosineAnnealingWarmRestarts", lambda base, k, g: cosine(base, 0.0, k % 2 / 2), 2),
    "harmonic": made("LambdaLR", lambda base, k, g: base / (k + 1), by="inverse"),
    "multiplicative": made("MultiplicativeLR", lambda base, k, g: base * 0.5**k, by="half"),
    "plateau": made("ReduceLROnPlateau", lambda base, k, g: base * 0.5 ** max(0, k - 1), factor=0.5, patience=0),
    "sequential": made("SequentialLR", lambda base, k, g: base * (0.5 if k < 2 else 0.5 ** (k - 2)),
                       part("ConstantLR", 0.5, 8), part("ExponentialLR", 0.5), [2]),
    "chained": made("ChainedScheduler", lambda base, k, g: base * (0.5 if k < 2 else 1.0) * 0.5**k,
                    part("ConstantLR", 0.5, 2), part("ExponentialLR", 0.5)),
}  # fmt: skip
