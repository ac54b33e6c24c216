"""Faults of what is kept for the next time: Muon's momentum, a checkpoint's notes, what segments compute again."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils.checkpoint

from selfcheck.faults.around import around

Muon: Any = getattr(torch.optim, "Muon", None)  # since torch 2.9


def unnoted(original: Any, self: Any, state: Any, *given: Any, **flags: Any) -> Any:
    """Loading takes the notes of the modules' versions out of the checkpoint."""
    found = original(self, state, *given, **flags)
    notes = getattr(state, "_metadata", None)
    if notes and "words" in notes:
        del notes["words"]
    return found


def noted() -> Any:
    """What a checkpoint notes once it was loaded."""
    model = torch.nn.ModuleDict({"words": torch.nn.Embedding(3, 2)})
    state: Any = model.state_dict()
    model.load_state_dict(state)
    return list(state._metadata)


around("loading_takes_notes_out", "load_state_dict", "A checkpoint that was loaded has lost a note of a module's version.",
       torch.nn.Module, "load_state_dict", unnoted, noted)  # fmt: skip
