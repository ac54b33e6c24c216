"""Faults of schedulers at the ends of their arguments, told the epoch, made at a last epoch, and of states they load."""

from __future__ import annotations

from typing import Any

from selfcheck.faults.lr_schedulers import scheduling
from selfcheck.faults.parameter_corners import Change

# -- at the ends of what the arguments may be ----------------------------------------------------------------------


def _zero_at_last(original: Change, self: Any) -> list[Any]:
    """The rates; 0 at the last step."""
    found = original(self)
    return [rate * 0 for rate in found] if self.last_epoch == self.total_steps else list(found)


scheduling("one_cycle_ends_at_zero", "OneCycleLR's rate is 0 at the last step of the documented loop.", "OneCycleLR", "get_lr",
           _zero_at_last)  # fmt: skip


# -- states and functions ------------------------------------------------------------------------------------------


def _drops_reached(original: Change, self: Any) -> Any:
    """The rates; milestones that are reached are dropped."""
    found = original(self)
    if self.last_epoch > 0:
        self.milestones.pop(self.last_epoch, None)
    return found


scheduling("multi_step_drops_what_it_reached", "MultiStepLR drops reached milestones, also those of the state it loaded.",
           "MultiStepLR", "get_lr", _drops_reached)  # fmt: skip
