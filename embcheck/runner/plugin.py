"""The pytest plug-in: turns families into items, carries verdicts to the controlling process, and reports.

It is loaded in every pytest session of an environment that has embcheck, so it imports neither torch nor the laws
before a test needs them, and does nothing in a session without families.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from embcheck.core import aliases
from embcheck.core.options import PYTEST, options_of
from embcheck.runner.session_settings import check_regions, is_worker, ledger_of, refusing, settings_of

if TYPE_CHECKING:
    from embcheck.core.item import Item
    from embcheck.core.ledger import Entry


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("embcheck", "the laws of embeddings")
    for option in options_of(PYTEST).values():
        kind: dict[str, Any] = {"action": "store_true"} if option.kind is bool else {"metavar": option.metavar or None}
        if option.kind is int:
            kind["type"] = int
        group.addoption(option.pytest, default=option.default, help=option.help, **kind)


def pytest_configure(config: pytest.Config) -> None:
    if is_worker(config):
        return
    from embcheck.core.ledger import SHIPPED

    settings = settings_of(config)
    ledger_of(config)
    with refusing():
        unasked = settings.rehearsed()
    if settings.ledgers != (SHIPPED,):
        check_regions(ledger_of(config), settings)
    from embcheck.runner.session import Session

    session = Session(config, settings)
    session.results.notes += [unasked] * bool(unasked)
    config.pluginmanager.register(session, "embcheck-session")
    config.pluginmanager.register(Interruption(session))
    if settings.last_failed:
        from embcheck.runner.last_failed import LastFailed

        config.pluginmanager.register(LastFailed(session))


def pytest_itemcollected(item: pytest.Item) -> None:
    """In ``-k`` a family's name selects its items, whatever its file is called, and its ledger entries; so does a law's."""
    if words := item.config.getoption("keyword"):
        named = set(re.findall(r"\w+", words))
        for family in _families(item):
            names = [family.name, *(name for law in family.laws for name in aliases.names_of(law.name))]
            item.extra_keyword_matches.update(named.intersection(names))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if is_worker(metafunc.config) and {"embcheck_item", "embcheck_entry"}.intersection(metafunc.fixturenames):
        from embcheck.core.processes import keep_few_kernels

        keep_few_kernels()  # before torch makes its first one
    family = getattr(metafunc.function, "family", None)
    if family is not None and "embcheck_item" in metafunc.fixturenames:
        from embcheck.runner.judging import items

        found = items(metafunc.config, family, metafunc.function.engine)
        metafunc.parametrize("embcheck_item", found, ids=[f"{item.mode}-{item.part}" for item in found])
    elif "embcheck_entry" in metafunc.fixturenames:
        from embcheck.runner.judging import entries

        known = entries(metafunc.config)
        metafunc.parametrize("embcheck_entry", known, ids=[entry.name for entry in known])


def _turn(engines: tuple[str, ...], test: pytest.Item) -> int:
    """Where a test's engine stands among these; what is of none comes last."""
    engine = getattr(getattr(test, "function", None), "engine", None)
    return engines.index(engine) if engine in engines else len(engines)


def _parameters(test: pytest.Item) -> dict[str, Any]:
    """What a test was parametrized by, by name; what stands for an empty set is no item and no entry."""
    chosen = getattr(test, "callspec", None)
    return chosen.params if chosen is not None else {}


def _families(test: pytest.Item) -> list[Any]:
    """The families that a test is about: one, or of a ledger entry those that have such cases and laws."""
    from embcheck.core.law import FAMILIES

    entry = _parameters(test).get("embcheck_entry")
    if entry is not None and hasattr(entry, "witness"):  # a set of parameters that is empty has one, which is none
        kind = entry.witness.partition("(")[0]
        alike = [family for family in FAMILIES.values() if family.space.case_type.__name__ == kind]
        return [family for family in alike if any(entry.speaks_of(law.name) for law in family.laws)]
    family = getattr(getattr(test, "function", None), "family", None)
    return [family] if family is not None else []


def starts_processes(test: pytest.Item) -> bool:
    """Whether it is about a family whose cases run in processes of their own, or what the ledger knows of it."""
    return any(family.forks for family in _families(test))


def _deselect(config: pytest.Config, items: list[pytest.Item], others: set[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if item in others])
    items[:] = [item for item in items if item not in others]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest items come first.  Leaves this shard's share: every N-th of what was selected, so that every shard has some of
    each family.  What is to run is noted, so that what does not run is missed."""
    from embcheck.core.accounting import Selection
    from embcheck.core.item import PROFILES

    profile = PROFILES[settings_of(config).profile]
    if not (profile.processes or config.getoption("keyword")):
        others = {test for test in items if starts_processes(test)}
        _deselect(config, items, others if len(others) < len(items) else set())
    # What comes last is short, so that no worker waits long for another.  Of what is enumerated whole, the scope is longest.
    sparing = profile.sparing
    turn = partial(_turn, ("product", "random", "scope") if sparing else ("scope", "product", "random"))
    items.sort(key=turn)
    selection = Selection.of({item.nodeid: label for item in items if (label := _label(item))})
    text = config.getoption("--embcheck-shard")
    if text:
        from embcheck.runner.run import shard_of

        number, count = shard_of(text)
        # By name, since another plugin may have shuffled them, in each shard otherwise.
        named = sorted(items, key=lambda item: (turn(item), item.nodeid))
        _deselect(config, items, {item for place, item in enumerate(named) if place % count != number - 1})
        selection = selection.only(item.nodeid for item in items)
    if is_worker(config):
        selection.write(Path(config.workerinput["embcheck_run"]))  # type: ignore[attr-defined]
    elif (session := config.pluginmanager.get_plugin("embcheck-session")) is not None:
        session.account.selection = selection


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """What is to judge forks before it runs a case: cases that may end their process are executed in forks of that."""
    if not session.config.option.collectonly and any(map(_label, session.items)):
        from embcheck.engine.crashes.isolate import fork
        from embcheck.subject.collect import load_families

        with suppress(Exception):  # a file of laws that can't be imported is told elsewhere
            load_families()
            fork()


def _label(test: pytest.Item) -> str:
    """The name of the item or ledger entry that a test is about; empty if it is neither."""
    asked = _parameters(test)
    item, entry = asked.get("embcheck_item"), asked.get("embcheck_entry")
    if entry is not None and hasattr(entry, "witness"):  # a set of parameters that is empty has one, which is none
        from embcheck.core.verdict import witness_law

        return witness_law(entry.name)
    return str(getattr(item, "label", ""))


@pytest.fixture
def judged(request: pytest.FixtureRequest, embcheck_item: Item) -> Callable[[], None]:
    """Runs the test's item and fails with the violations, if there are any."""
    from embcheck.runner.judging import judge

    return partial(judge, request.config, request.node, embcheck_item)


@pytest.fixture
def witnessed(request: pytest.FixtureRequest, embcheck_entry: Entry) -> Callable[[], None]:
    """Runs a ledger entry's witness and fails if it no longer shows the violation."""
    from embcheck.runner.judging import witness

    return partial(witness, request.config, request.node, embcheck_entry)


class Interruption:
    """A plug-in of the controlling process: the record of a run that is interrupted where pytest does not tell it, while its
    workers start or end, has a footer, and its exit code a reason."""

    def __init__(self, run: Any) -> None:
        self.run = run

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self, session: pytest.Session) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self._end(session)
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            if self.run.record.footer is not None:
                raise
            self._end(session)

    def _end(self, session: pytest.Session) -> None:
        session.exitstatus = pytest.ExitCode.INTERRUPTED
        self.run.pytest_sessionfinish(session, session.exitstatus)
