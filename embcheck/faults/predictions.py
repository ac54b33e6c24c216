"""Faults of losses over a tied head: what is ignored, weighted, smoothed and averaged, and what is sent back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.around import around, numbered
from embcheck.faults.kernels import Tensor

functional = torch.nn.functional
Wrong = Callable[..., Any]


def judged(targets: Any = (1, 0, 2), shape: tuple[int, ...] = (3, 3), **flags: Any) -> Callable[[], Any]:
    """The loss of numbered logits and the gradient that it sends back."""

    def probe() -> Any:
        logits = numbered(1, math.prod(shape)).reshape(shape).remainder(5).requires_grad_()
        loss = functional.cross_entropy(logits, torch.tensor(targets), **flags)
        (sent,) = torch.autograd.grad(loss.sum(), logits)
        return loss.detach().nan_to_num(9.0), sent

    return probe


def loss(name: str, sentence: str, wrong: Wrong, probe: Callable[[], Any]) -> None:
    """A fault of cross_entropy, on whose flags ``wrong(original, logits, targets, weight, **flags)`` decides."""

    def replaced(original: Any, logits: Tensor, targets: Tensor, weight: Any = None, *rest: Any, **flags: Any) -> Any:
        return wrong(original, logits, targets, weight, **flags)

    around(name, "prediction", sentence, functional, "cross_entropy", replaced, probe)


def mean_of(flags: dict[str, Any]) -> bool:
    """Whether a mean is asked for."""
    return bool(flags.get("reduction", "mean") == "mean")


# -- what is ignored -----------------------------------------------------------------------------------------------


def counts_inside(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """An ignore_index that is a class is judged like any other."""
    inside = 0 <= flags.get("ignore_index", -100) < logits.shape[-1]
    return original(logits, targets, weight, **flags | ({"ignore_index": -100} if inside else {}))


loss("ignored_classes_are_judged", "An ignore_index within the classes is not ignored.", counts_inside,
     judged(ignore_index=2))  # fmt: skip


def divides_by_all(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """A mean over index targets divides by the number of all targets."""
    if not mean_of(flags) or targets.is_floating_point() or not targets.dim() or weight is not None:
        return original(logits, targets, weight, **flags)
    return original(logits, targets, weight, **flags | {"reduction": "sum"}) / max(targets.numel(), 1)


loss("means_divide_by_the_ignored_too", "A mean divides by the number of all targets, ignored ones among them.",
     divides_by_all, judged((1, -100, 2)))  # fmt: skip


def nudged(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """Rows whose target is ignored get a small gradient; the loss is right."""
    found = original(logits, targets, weight, **flags)
    if targets.is_floating_point() or targets.dim() != 1 or found.dim():
        return found
    ignored = targets == flags.get("ignore_index", -100)
    leak = logits[ignored].sum() * 2.0**-3
    return found + (leak - leak.detach())


loss("ignored_rows_get_a_gradient", "Rows of ignored targets get a gradient.", nudged, judged((1, -100, 2)))


def nothing_left(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """A mean over nothing sends NaN back."""
    found = original(logits, targets, weight, **flags)
    if mean_of(flags) and not targets.is_floating_point() and bool(found.isnan().all()):
        return found + logits.sum() * float("nan")
    return found


loss("means_of_nothing_send_nan", "The mean over nothing but ignored targets sends NaN back.", nothing_left,
     judged((-100, -100, -100)))  # fmt: skip


def left_out(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """With reduction 'none' ignored targets are left out of what comes back."""
    found = original(logits, targets, weight, **flags)
    if found.dim() != 1 or targets.is_floating_point():
        return found
    return found[targets != flags.get("ignore_index", -100)]


loss("losses_of_ignored_targets_are_left_out", "reduction='none' gives no number for an ignored target.", left_out,
     judged((1, -100, 2), reduction="none"))  # fmt: skip


def replaced_in_place(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """Targets that are ignored are overwritten by zero, once the loss is known."""
    found = original(logits, targets, weight, **flags)
    if not targets.is_floating_point() and "ignore_index" in flags:
        targets.data.masked_fill_(targets == flags["ignore_index"], 0)
    return found


def overwritten_targets() -> Any:
    """Targets after a loss."""
    targets = torch.tensor([1, 7, 2])
    functional.cross_entropy(numbered(3, 3), targets, ignore_index=7)
    return targets


loss("ignored_targets_are_overwritten", "Ignored targets are replaced by zero in the given tensor.", replaced_in_place,
     overwritten_targets)  # fmt: skip

# -- weights and smoothing -----------------------------------------------------------------------------------------


def unweighted_mean(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """A weighted mean divides by the number of targets that are judged, not by their weights."""
    if weight is None or not mean_of(flags) or targets.is_floating_point() or logits.dim() != 2:
        return original(logits, targets, weight, **flags)
    kept = (targets != flags.get("ignore_index", -100)).sum()
    return original(logits, targets, weight, **flags | {"reduction": "sum"}) / kept


WEIGHTS = torch.tensor([1.0, 2.0, 4.0])

loss("weighted_means_divide_by_their_number", "A weighted mean divides by the number of its targets.", unweighted_mean,
     judged(weight=WEIGHTS))  # fmt: skip


def smoothed_without_weights(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """The share of label smoothing that goes to all classes is not weighted."""
    share = flags.get("label_smoothing", 0.0)
    if weight is None or not 0 < share <= 1 or flags.get("reduction") != "sum" or targets.is_floating_point():
        return original(logits, targets, weight, **flags)
    dim = 1 if logits.dim() > 1 else 0
    kept = targets != flags.get("ignore_index", -100)
    even = (functional.log_softmax(logits, dim).mean(dim) * kept).sum()
    return (1 - share) * original(logits, targets, weight, **flags | {"label_smoothing": 0.0}) - share * even


loss("smoothing_is_not_weighted", "Label smoothing gives each class the same weight.", smoothed_without_weights,
     judged(weight=WEIGHTS, label_smoothing=0.25, reduction="sum"))  # fmt: skip


def smoothed_over_others(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """Label smoothing is shared among the other classes."""
    share, count = flags.get("label_smoothing", 0.0), logits.shape[1 if logits.dim() > 1 else 0]
    if not 0 < share < 1 or count < 2:
        return original(logits, targets, weight, **flags)
    return original(logits, targets, weight, **flags | {"label_smoothing": min(share * count / (count - 1), 1.0)})


loss("smoothing_leaves_out_the_target", "Label smoothing spreads over the other classes alone.", smoothed_over_others,
     judged(label_smoothing=0.25))  # fmt: skip

# -- distributions, shapes and ranges ------------------------------------------------------------------------------


def mean_of_classes(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """The mean over distributions divides by classes, too, when there are as many as rows."""
    found = original(logits, targets, weight, **flags)
    square = logits.dim() == 2 and logits.shape[0] == logits.shape[1] and targets.is_floating_point()
    return found / logits.shape[1] if square and mean_of(flags) else found


loss("means_of_square_distributions_divide_by_classes", "The mean over as many distributions as classes is divided again.",
     mean_of_classes, judged(((0.5, 0.5, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5))))  # fmt: skip


def turned(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """Square targets of sequences are transposed."""
    square = targets.dim() == 2 and targets.shape[0] == targets.shape[1] and logits.dim() == 3
    square &= not targets.is_floating_point()
    return original(logits, targets.T if square else targets, weight, **flags)


loss("square_targets_are_transposed", "Targets of as many sequences as steps are transposed.", turned,
     judged(((1, 0), (2, 1)), (2, 3, 2), reduction="none"))  # fmt: skip


def first_of_one(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """The loss of a single token has an axis."""
    found = original(logits, targets, weight, **flags)
    return found[None] if logits.dim() == 1 and flags.get("reduction") == "none" else found


loss("a_single_loss_has_an_axis", "The loss of a token without an axis has one.", first_of_one,
     lambda: functional.cross_entropy(numbered(1, 3)[0], torch.tensor(1), reduction="none"))  # fmt: skip


def lenient(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """A target beyond the classes is taken for the last one."""
    if targets.is_floating_point():
        return original(logits, targets, weight, **flags)
    last = logits.shape[1 if logits.dim() > 1 else 0] - 1
    stray = (targets > last) & (targets != flags.get("ignore_index", -100))
    return original(logits, targets.masked_fill(stray, last), weight, **flags)


def refused() -> bool:
    """Whether a target beyond the classes is refused."""
    try:
        functional.cross_entropy(numbered(2, 3), torch.tensor([3, 0]))
    except (IndexError, RuntimeError):
        return True
    return False


loss(
    "targets_beyond_the_classes_are_the_last",
    "A target beyond the classes is taken for the last one.",
    lenient,
    refused,
)


def single(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """One number for a batch comes in single precision."""
    found = original(logits, targets, weight, **flags)
    return found.float() if found.dtype == torch.float16 and not found.dim() else found


loss("half_losses_come_in_single", "The loss of a batch in float16 is a float32.", single,
     lambda: str(functional.cross_entropy(numbered(2, 3).half(), torch.tensor([1, 0])).dtype))  # fmt: skip

# -- numbers -------------------------------------------------------------------------------------------------------


def overflowing(original: Any, given: Tensor, *rest: Any, **flags: Any) -> Any:
    """log softmax without the largest logit subtracted first."""
    dim = flags.get("dim", rest[0] if rest else -1)
    return given - given.exp().sum(dim, keepdim=True).log()


around("softmax_overflows", "prediction", "log_softmax takes exponentials of the logits as they are.", functional,
       "log_softmax", overflowing, lambda: functional.log_softmax(numbered(1, 3) * 99, -1))  # fmt: skip


def stagnating(original: Any, logits: Tensor, targets: Tensor, weight: Any, **flags: Any) -> Any:
    """A mean of more than 4,096 losses is added up in the logits' own format, one after the other."""
    if logits.dtype != torch.bfloat16 or not mean_of(flags) or logits.dim() != 2 or len(logits) <= 4096:
        return original(logits, targets, weight, **flags)
    each = original(logits, targets, weight, **flags | {"reduction": "none"})
    total = each[0]
    for part in each[1:].split(1024):  # adding a block of ones to 256 leaves 256, as adding each of them does
        total = total + part.max() if float(total) < 256 else total
    return total / len(logits)


def long_mean() -> Any:
    """The mean of five thousand losses."""
    return functional.cross_entropy(torch.zeros(5000, 2, dtype=torch.bfloat16), torch.zeros(5000, dtype=torch.int64))


loss(
    "long_means_stagnate_in_bfloat16",
    "The mean of more than 4,096 losses is added up in bfloat16.",
    stagnating,
    long_mean,
)


def one_end(original: Any, given: Tensor, weight: Tensor, *rest: Any, **flags: Any) -> Any:
    """A head whose weight has as many rows as there are tokens gets no gradient."""
    return original(
        given, weight.detach() if given.dim() == 2 and len(given) == len(weight) else weight, *rest, **flags
    )


def sent_to_the_head() -> Any:
    """The gradient of a head."""
    weight = numbered(3, 2).requires_grad_()
    value = functional.linear(numbered(3, 2).requires_grad_(), weight).sum()
    return torch.autograd.grad(value, weight, allow_unused=True, materialize_grads=True)


around("heads_of_as_many_rows_as_tokens_learn_nothing", "prediction",
       "A head with as many rows as there are tokens learns nothing.", functional, "linear", one_end, sent_to_the_head)  # fmt: skip
