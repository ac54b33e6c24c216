"""The laws on a class of your own, in one line of your own test suite.

from embcheck import check

def test_my_embedding():
    check(MyEmbedding)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import torch

from embcheck.case import Case
from embcheck.collect import load_families
from embcheck.engine import run_item
from embcheck.item import ENGINES, PROFILES, Item
from embcheck.law import Family
from embcheck.ledger import SHIPPED, load
from embcheck.report.terminal import chosen, failure
from embcheck.run import examples_of
from embcheck.subject import ENTRIES, Entry, Subject, table_of, table_subject
from embcheck.verdict import Status, Verdict, merge_all

#: The families that speak of any table.
TABLE_FAMILIES = ("lookup", "gradient", "padding")


class LawViolated(AssertionError):
    """A subject breaks a law; the message shows the smallest cases, ``verdicts`` has everything."""

    def __init__(self, message: str, verdicts: list[Verdict]) -> None:
        super().__init__(message)
        self.verdicts = verdicts


def check(subject: Callable[..., torch.nn.Module], *, profile: str = "quick", seed: int = 0) -> list[Verdict]:
    """Runs the laws of lookup, gradient and padding on a class or factory.

    ``subject(num_embeddings, embedding_dim, **flags)`` must return a module with one parameter of shape
    ``(num_embeddings, embedding_dim)``; of the flags (padding_idx, scale_grad_by_freq, sparse…) it gets those that
    its signature takes, and laws about the others are not applicable.  Returns the verdicts.

    Raises:
        LawViolated: if a law is violated; an AssertionError that shows the smallest counterexamples.
        TypeError: if the subject can't be called so, or has no such parameter.
        KeyError: for an unknown profile.
    """
    table = table_subject(subject)
    probe(subject, table.name)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        verdicts = list(merge_all(list(_verdicts(table, profile, seed))).values())
    finally:
        torch.set_num_threads(threads)
    bad = [verdict for verdict in verdicts if verdict.status >= Status.UNKNOWN]
    if bad:
        shown = [failure(example, replayable=False).plain for example in chosen(examples_of(bad))]
        shown += [
            f"UNKNOWN {verdict.law}: {'; '.join(verdict.reasons)}" for verdict in bad if not verdict.counterexamples
        ]
        raise LawViolated(f"{table.name} breaks {len(bad)} laws\n" + "\n".join(shown), verdicts)
    return verdicts


def probe(subject: Callable[..., torch.nn.Module], name: str) -> None:
    """Builds the subject once, so that a wrong signature is one clear line and not a violated law.

    Raises:
        TypeError: that line.
    """
    try:
        layer = subject(5, 3)
    except TypeError as error:
        raise TypeError(f"{name} can't be built as {name}(num_embeddings, embedding_dim): {error}") from error
    if not isinstance(layer, torch.nn.Module):
        raise TypeError(f"{name}(5, 3) returned {type(layer).__name__}; expected a torch.nn.Module")
    table_of(layer, (5, 3), name)


def _verdicts(subject: Subject, profile: str, seed: int) -> Iterator[Verdict]:
    from importlib.metadata import version

    (entry,) = subject.entries.values()
    ledger = load(SHIPPED, version("torch"), date.today())
    families = load_families()
    ENTRIES[entry.name] = entry
    try:
        for name in TABLE_FAMILIES:
            family = adapted(families[name], entry, subject)
            if family is None:
                continue
            for engine in ENGINES:
                item = Item(name, subject.name, family.modes[0], engine)
                yield from run_item(family, item, PROFILES[profile], seed, ledger)
    finally:
        del ENTRIES[entry.name]


def adapted(family: Family, entry: Entry, subject: Subject) -> Family | None:
    """The family with every case fed to this entry, flags that it lacks left at their defaults.

    None for the padding family of a subject without padding_idx.
    """
    if family.name == "padding" and "padding_idx" in subject.lacks:
        return None
    space = family.space
    defaults = {flag: Case._field_defaults[flag] for flag in subject.lacks}

    def canon(case: Any) -> Any:
        fitted = space.canon(case.but(entry=entry.name, **defaults))
        return fitted if fitted is None or fitted.entry == entry.name else None

    def scope() -> Iterator[Any]:
        seen = set()
        for case in space.scope():
            fitted = canon(case)
            if fitted is not None and fitted not in seen:
                seen.add(fitted)
                yield fitted

    draw = space.draw
    axes = {**space.axes, "entry": (entry.name,)}
    drawn = (lambda draws: _or_none(draw(draws), canon)) if draw is not None else None
    changed = copy.copy(family)  # not replace(), which would register it as a family of its own
    changed.space = replace(space, axes=axes, canon=canon, scope=scope, draw=drawn)
    return changed


def _or_none(case: Any, canon: Callable[[Any], Any]) -> Any:
    return None if case is None else canon(case)
