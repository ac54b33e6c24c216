"""Faults of losses over a tied head: what is ignored, weighted, smoothed and averaged, and what is sent back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.around import around
from selfcheck.faults.kernels import Tensor

functional = torch.nn.functional
Wrong = Callable[..., Any]


def loss(name: str, sentence: str, wrong: Wrong) -> None:
    """A fault of cross_entropy, on whose flags ``wrong(original, logits, targets, weight, **flags)`` decides."""

    def replaced(original: Any, logits: Tensor, targets: Tensor, weight: Any = None, *rest: Any, **flags: Any) -> Any:
        return wrong(original, logits, targets, weight, **flags)

    around(name, "tied_head_loss", sentence, functional, "cross_entropy", replaced)


def mean_of(flags: dict[str, Any]) -> bool:
    """Whether a mean is asked for."""
    return bool(flags.get("reduction", "mean") == "mean")


# -- what is ignored -----------------------------------------------------------------------------------------------


def nudged(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """Rows whose target is ignored get a small gradient; the loss is right."""
    found = original(logits, targets, weight, **flags)
    if targets.is_floating_point() or targets.dim() != 1 or found.dim():
        return found
    ignored = targets == flags.get("ignore_index", -100)
    leak = logits[ignored].sum() * 2.0**-3
    return found + (leak - leak.detach())


loss("ignored_rows_get_a_gradient", "Rows of ignored targets get a gradient.", nudged)


def replaced_in_place(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """Targets that are ignored are overwritten by zero, once the loss is known."""
    found = original(logits, targets, weight, **flags)
    if not targets.is_floating_point() and "ignore_index" in flags:
        targets.data.masked_fill_(targets == flags["ignore_index"], 0)
    return found


loss("ignored_targets_are_overwritten", "Ignored targets are replaced by zero in the given tensor.", replaced_in_place)  # fmt: skip

# -- distributions, shapes and ranges ------------------------------------------------------------------------------


def lenient(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """A target beyond the classes is taken for the last one."""
    if targets.is_floating_point():
        return original(logits, targets, weight, **flags)
    last = logits.shape[1 if logits.dim() > 1 else 0] - 1
    out_of_range = (targets > last) & (targets != flags.get("ignore_index", -100))
    return original(logits, targets.masked_fill(out_of_range, last), weight, **flags)


loss(
    "targets_beyond_the_classes_are_the_last",
    "A target beyond the classes is taken for the last one.",
    lenient,
)


def single(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """One number for a batch comes in single precision."""
    found = original(logits, targets, weight, **flags)
    return found.float() if found.dtype == torch.float16 and not found.dim() else found


loss("half_losses_come_in_single", "The loss of a batch in float16 is a float32.", single)  # fmt: skip

# -- numbers -------------------------------------------------------------------------------------------------------


def stagnating(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """A mean of more than 4,096 losses is added up in the logits' own format, one after the other."""
    if logits.dtype != torch.bfloat16 or not mean_of(flags) or logits.dim() != 2 or len(logits) <= 4096:
        return original(logits, targets, weight, **flags)
    each = original(logits, targets, weight, **flags | {"reduction": "none"})
    total = each[0]
    for part in each[1:].split(1024):  # adding a block of ones to 256 leaves 256, as adding each of them does
        total = total + part.max() if float(total) < 256 else total
    return total / len(logits)


loss(
    "long_means_stagnate_in_bfloat16",
    "The mean of more than 4,096 losses is added up in bfloat16.",
    stagnating,
)
