"""Registers a subject's entry, and replaces the process's families by those that speak of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from embcheck.core.declaration import declaration_of, name_of, resolve
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
from embcheck.subject.conversion import conversions
from embcheck.subject.table import bags, tables
from embcheck.subject.tied import ties

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
