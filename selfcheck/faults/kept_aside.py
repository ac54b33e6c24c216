"""Faults of what is kept for the next time: Muon's momentum, a checkpoint's notes, what segments compute again."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils.checkpoint

from selfcheck.faults.around import around


def unnoted(original: Any, self: Any, state: Any, *given: Any, **flags: Any) -> Any:
    """Loading takes the notes of the modules' versions out of the checkpoint."""
    found = original(self, state, *given, **flags)
    notes = getattr(state, "_metadata", None)
    if notes and "words" in notes:
        del notes["words"]
    return found


around("loading_takes_notes_out", "load_state_dict", "A checkpoint that was loaded has lost a note of a module's version.",
       torch.nn.Module, "load_state_dict", unnoted)  # fmt: skip
