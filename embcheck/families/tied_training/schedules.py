"""Learning-rate schedules of a run: what each is made with, and the rates that its documentation says; knows no torch."""

from __future__ import annotations

from embcheck.families.lr_scheduler.oracle import Scheduler, cosine, made

#: The rate of an epoch is here a multiple of the first one's.
SCHEDULES: dict[str, Scheduler | None] = {
    "constant": None,
    "step_lr": made("StepLR", lambda base, k, g: base * 0.5**k, 1, 0.5),
    "polynomial": made("PolynomialLR", lambda base, k, g: base * max(0.0, 1 - k / 4), 4, 1.0),
    "cosine": made("CosineAnnealingLR", lambda base, k, g: cosine(base, 0.0, k / 4), 4),
    "plateau": made("ReduceLROnPlateau", lambda base, k, g: base * 0.5 ** max(0, k - 1), factor=0.5, patience=0),
}
