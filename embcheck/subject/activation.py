"""Registers a subject's entry, and replaces the process's families by those that speak of it; and the laws of a
function that makes a linear layer of an embedding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from embcheck.core.declaration import Declaration, declaration_of, name_of, resolve
from embcheck.core.law import FAMILIES, Family
from embcheck.core.weight_map import MATHEMATICS
from embcheck.families.conversion.assignment import ASSIGNMENTS
from embcheck.families.embedding_bag.programs import BAG_ENTRIES
from embcheck.families.lookup.spelling import ENTRIES
from embcheck.families.max_norm.programs import SPELLINGS
from embcheck.families.tie_preservation.programs import STRUCTURES
from embcheck.families.tied_training.training_steps import TIES
from embcheck.modes.global_state import Undisturbed
from embcheck.subject.building import by_position
from embcheck.subject.fitting import scripted, sent
from embcheck.subject.table import bags, tables
from embcheck.subject.tied import ties


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


#: What brings the families to a subject, by its kind.
_ADAPTERS = {"table": tables, "bag": bags, "tied": ties, "conversion": conversions}
#: Where an entry of a subject may be registered.
_REGISTRIES: tuple[dict[str, Any], ...] = (ENTRIES, SPELLINGS, MATHEMATICS, BAG_ENTRIES, TIES, STRUCTURES, ASSIGNMENTS)


@contextmanager
def adapted(factory: Callable[..., Any]) -> Iterator[dict[str, Family]]:
    """The families that speak of a subject, by name, while its entry is registered.

    Raises:
        SubjectError: if nothing can be built, or what is built is not of the declared kind.
    """
    declared, name = declaration_of(factory), name_of(factory)
    try:
        with Undisturbed():
            families = {
                family.name: family for family in _ADAPTERS[declared.kind](by_position(factory), declared, name)
            }
        yield families
    finally:
        for registry in _REGISTRIES or ():  # None where the interpreter ends first
            registry.pop(name, None)


def activate(name: str) -> None:
    """Replaces the process's families, once, by those of the subject of a name.

    Raises:
        SubjectError: if there is none.
    """
    if name in _ACTIVE:
        return
    with Undisturbed():  # by the user's module, when it is imported
        context = adapted(resolve(name))
    families = context.__enter__()
    _ACTIVE[name] = context  # kept, or its end would come with the garbage collector
    FAMILIES.clear()
    FAMILIES.update(families)


_ACTIVE: dict[str, Any] = {}
