"""A function that makes a linear layer of an embedding."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.core.declaration import Declaration
from embcheck.core.law import FAMILIES, Family
from embcheck.families.conversion.assignment import ASSIGNMENTS
from embcheck.subject.fitting import scripted, sent


def assigned(convert: Callable[..., Any], target: torch.nn.Module, weight: torch.Tensor) -> tuple[Any, Any]:
    rows, width = weight.shape
    padding = rows - 1 if rows % 2 else None
    embedding = torch.nn.Embedding(rows, width, padding, device="meta", dtype=weight.dtype)
    embedding.weight = weight
    linear = convert(embedding)
    target.weight = linear.weight
    return linear.weight, linear


def as_it_is(w: torch.Tensor) -> torch.Tensor:
    """In place of a spelling: the subject transposes by itself."""
    return w


def conversions(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """The laws of the conversion on a function that makes a linear layer of an embedding."""

    def assign(target: torch.nn.Module, weight: torch.Tensor) -> tuple[Any, Any]:
        return assigned(factory, target, weight)

    body = f"def assign(target, weight):\n    return assigned({factory.__qualname__}, target, weight)\n"
    scripted(assign, factory, assigned, body)
    ASSIGNMENTS[name] = assign
    spelling = "clone_contiguous" if declared.copies else "T"

    def fit(case: Any) -> Any:
        if case.mistake is not None or "frozen" in case.source or case.source == "from_pretrained":
            return None  # a frozen table's layer may be frozen, too
        grad_mode = "enabled" if case.grad_mode == "inference" else case.grad_mode
        # Padding is none of a linear layer's: every other table has it, as `assigned` gives it.
        padding = case.num_embeddings - 1 if case.num_embeddings % 2 else None
        changes = {"spelling": spelling, "cut": "none", "bias": "none", "grad_mode": grad_mode, "padding_idx": padding}
        return case.but(direction="to_linear", **changes)

    family = FAMILIES["conversion"]
    changed = sent(family, fit, ("assign", name), declared.domain)
    # What a layer of yours gives may lie in memory as it likes, and so may a copy.
    layouts = {"converted_output_is_contiguous"}
    if declared.copies:
        layouts |= {"converted_weight_has_transposed_strides", "converted_gradient_has_weight_layout"}
    changed.laws = [law for law in family.laws if law.name not in layouts]

    def untransposed(case: Any) -> Any:
        plan = family.plan(case)
        return plan._replace(options={**plan.options, "spelling": as_it_is})

    changed.plan = untransposed
    yield changed
