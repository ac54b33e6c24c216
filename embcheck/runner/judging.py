"""What a process that judges does: which items and entries there are, the verdicts of an item, and what an entry's witness shows.

The plug-in imports it once a test needs it: it imports torch, which a session of somebody else's does without.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo

from embcheck.core.declaration import configured
from embcheck.core.item import PROFILES, Item, all_items, items_of
from embcheck.core.law import FAMILIES
from embcheck.core.ledger import Entry
from embcheck.core.machine import Machine, here
from embcheck.core.processes import end_with_parent, give_back_memory, temporary_files_in
from embcheck.core.verdict import Status
from embcheck.engine.crashes.isolate import probe, ready
from embcheck.engine.crashes.slot import Deaths, Slot
from embcheck.engine.run_item import run_item, without_warnings
from embcheck.engine.tally import Probe
from embcheck.engine.witness import look, statement
from embcheck.modes.mode import modes_of, running
from embcheck.record.compare import Baseline
from embcheck.record.record import read
from embcheck.record.store import store_of
from embcheck.report.failure import violations
from embcheck.runner.run import Batch
from embcheck.runner.session_settings import is_worker, ledger_of, settings_of
from embcheck.subject.collect import load_families, load_modes, statements

_TOLD: pytest.StashKey[bool] = pytest.StashKey()
_SLOT: pytest.StashKey[Slot] = pytest.StashKey()


def items(config: pytest.Config, family: Any, engine: str) -> list[Item]:
    """The items of a family that an engine judges in this session."""
    settings = settings_of(config)
    if settings.subject:
        # Brought to the subject; families that do not speak of its kind are not among them.
        family = load_families().get(family.name)
    load_modes()
    modes = modes_of(family, settings.modes) if family is not None and settings.modes else ()
    if family is None or (settings.modes and not modes):
        return []
    return items_of(family, engine, PROFILES[settings.profile], modes, settings.subject or "torch")


def entries(config: pytest.Config) -> list[Entry]:
    """The entries of the ledger whose witnesses are looked at in this session."""
    settings, ledger = settings_of(config), ledger_of(config)
    subject = configured(Path.cwd()).get(settings.subject, settings.subject) if settings.subject else ""
    surveyed = settings.witnesses == "all"
    every = ledger.entries + ledger.some_machines + (ledger.elsewhere if surveyed else ())
    load_modes()
    modes = running(settings.modes, PROFILES[settings.profile].sliced)
    return [entry for entry in every if entry.subject == subject and entry.runs_in(modes)]


def judge(config: pytest.Config, node: Any, item: Item) -> None:
    """Runs the item of a test and fails with the violations, if there are any."""
    settings = settings_of(config)
    profile, family = PROFILES[settings.profile], FAMILIES[item.family]
    watched = _watched(config, node.nodeid, item.label, settings.device, profile.limit)
    with without_warnings(), watched as (before, tried):
        verdicts = run_item(
            family,
            item,
            profile,
            settings.seed,
            ledger_of(config).on(_proved(config)),
            device=settings.device,
            before=before,
            probe=tried,
            former=_baseline(config).former(item.label, settings.device) if settings.baseline is not None else None,
            learns=settings.update_ledger is not None,
        )
    give_back_memory()
    modes = modes_of(family, settings.modes)
    if family.modes[0] not in modes or item.mode not in family.modes:
        # Cases are made to meet the obligations in a family's own modes.
        verdicts = [replace(verdict, must_cover=()) for verdict in verdicts]
    count = len(all_items(family, profile, modes if settings.modes else ()))
    laws = statements(family)
    Batch(item.label, count, verdicts, laws, _news(config)).attach(node)
    text = violations(verdicts, store_of(settings.report), {law.law: law for law in laws})
    if text:
        pytest.fail(text, pytrace=False)


def witness(config: pytest.Config, node: Any, entry: Entry) -> None:
    """Runs the witness of a test's ledger entry and fails if it no longer shows the violation."""
    settings = settings_of(config)
    how = {"surveyed": settings.witnesses == "all", "strict": settings.strict, "machine": _proved(config)}
    with without_warnings():
        verdict = look(entry, settings.device, ledger=ledger_of(config), **how)
    Batch(verdict.law, 1, [verdict], [statement(entry)], _news(config)).attach(node)
    if verdict.status == Status.VIOLATED:
        pytest.fail("\n".join(verdict.reasons), pytrace=False)


def _proved(config: pytest.Config) -> Machine:
    """The machine as a process that judges uses it: with one thread, unless a case sets more and sets it back."""
    torch.set_num_threads(1)
    return here(settings_of(config).device)


def _news(config: pytest.Config) -> Machine | None:
    """What this process has proved of its machine, for the first batch that it hands over; None for the others."""
    told, config.stash[_TOLD] = config.stash.get(_TOLD, False), True
    return None if told else _proved(config)


@lru_cache(maxsize=1)
def _baseline(config: pytest.Config) -> Baseline:
    """What tells which of an item's cases failed before."""
    return Baseline(read(settings_of(config).baseline))


@contextmanager
def _watched(
    config: pytest.Config, nodeid: str, label: str, device: str, limit: float
) -> Iterator[tuple[Callable[[bytes], str | None] | None, Probe | None]]:
    """While an item runs in a worker the crash slot is filled, and what is written for a moment lies in the run's folder.

    It gives what is told of each case before it runs and says why one must be left out, and what tries cases elsewhere.
    """
    # One thread a worker: cases that need more set it themselves and set it back.
    torch.set_num_threads(1)
    # Products must not be rounded to TF32 or bfloat16 on the way.
    torch.set_float32_matmul_precision("highest")
    if not is_worker(config):
        yield None, None
        return
    inputs: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
    folder = Path(inputs["embcheck_run"])
    with temporary_files_in(folder):
        if _SLOT not in config.stash:
            end_with_parent()
            config.stash[_SLOT] = Slot(folder, inputs["workerid"])
        slot = config.stash[_SLOT]
        slot.begin(nodeid, label)
        family, _, mode, *_ = label.split("/")
        deaths = Deaths(folder)
        crashing, deadly = deaths.crashing(family), deaths.deadly
        if crashing or (family in FAMILIES and FAMILIES[family].forks):
            ready()

        def before(case: bytes) -> str | None:
            slot.running(case)
            return "the worker that judged it before died, and alone it comes back" if case in deadly else None

        def tried(cases: list[Any]) -> list[str | None]:
            slot.running(b"")  # what forks use while they are tried is not the time of the case that was judged last
            return probe(family, mode, device, limit, cases)

        try:
            yield before, tried if crashing else None
        finally:
            slot.running(b"")
