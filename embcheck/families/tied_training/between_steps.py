"""Events in the middle of a run: functions that import nothing but torch.

An event is told the step ``k`` that it comes before, ``model``, ``optimizer``, ``build``, the path of the ``table``, and the
tokens (``indices``).  Those of EVERY_STEP come before each, the others before step 1.  What an event returns, a model and an
optimizer, takes the place of these.  None may change what the steps do, but for the learning rate, which is observed.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.tied_training.training_steps import Function

EVERY_STEP = frozenset({"frozen"})


def rate_halved(optimizer: Any, **given: Any) -> Any:
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] / 2


def loaded(optimizer: Any, state: Any, build: Function) -> Any:
    """Another optimizer of the same groups, which loads a state."""
    fresh = build([{"params": group["params"]} for group in optimizer.param_groups], lr=8.0)
    fresh.load_state_dict(state)
    return fresh


def filed(value: Any, **flags: Any) -> Any:
    import io

    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **flags)


def reloaded_saved(model: Any, optimizer: Any, **given: Any) -> Any:
    kept = filed({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.load_state_dict(kept["model"])
    return model, loaded(optimizer, kept["optimizer"], optimizer.__class__)


def copied(model: Any, optimizer: Any, **given: Any) -> Any:
    import copy

    return copy.deepcopy((model, optimizer))


def frozen(k: int, model: Any, **given: Any) -> Any:
    model.requires_grad_(k != 1)


#: What "skipped", "accumulated" and "alternating" say of the steps is the case's matter.
EVENTS: dict[str, Function] = named(
    {
        "nothing": lambda **given: None,
        "rate_halved": rate_halved,
        "reloaded": lambda model, optimizer, **given: (
            model,
            loaded(optimizer, optimizer.state_dict(), type(optimizer)),
        ),
        "reloaded_saved": reloaded_saved,
        "copied": copied,
        "frozen": frozen,
        "skipped": lambda **given: None,
        "accumulated": lambda **given: None,
        "alternating": lambda **given: None,
    },
    prefix="event_",
)
