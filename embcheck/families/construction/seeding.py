"""Seeds torch's generators, in a program that does so many times."""

from __future__ import annotations

import torch


def seeded(seed: int) -> None:
    # torch.manual_seed also keeps a traceback for each kind of device that is not in use, which takes a millisecond.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
