"""The pytest plug-in: turns families into items, carries verdicts to the controlling process, and reports.

It is loaded in every pytest session of an environment that has embcheck, so it imports neither torch nor the laws
before a test needs them, and does nothing in a session without families.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from embcheck.item import Item
    from embcheck.judge import Probe
    from embcheck.ledger import Ledger


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("embcheck", "the laws of embeddings")
    group.addoption("--embcheck-seed", type=int, default=0, metavar="N", help="seed of the cases (default 0)")
    group.addoption("--embcheck-profile", default="gate", metavar="NAME", help="quick, gate (default) or deep")
    group.addoption("--embcheck-mode", default="", metavar="NAMES", help="modes: all, or names with commas between")
    group.addoption("--embcheck-subject", default="", metavar="NAME", help="module:factory, or a configured name")
    group.addoption("--embcheck-device", default="cpu", metavar="NAME", help="device to check (default cpu)")
    group.addoption("--embcheck-report", default=None, metavar="DIR", help="where to write the record and failures")
    group.addoption(
        "--embcheck-ledger", default=None, metavar="FILE", help="known violations (default: the shipped ones)"
    )
    group.addoption("--embcheck-baseline", default=None, metavar="FILE", help="a record: fail only on what is new")
    group.addoption("--embcheck-shard", default="", metavar="k/N", help="the k-th of N shares of the items")
    group.addoption(
        "--embcheck-witnesses",
        default="in force",
        choices=("in force", "all"),
        help="all: also the witnesses of ledger entries that speak of other torch releases",
    )


def settings_of(config: pytest.Config) -> Any:
    """The session's settings.

    Raises:
        pytest.UsageError: for a profile or device that does not exist.
    """
    from embcheck.run import Settings, UsageError

    folder, ledger = config.getoption("--embcheck-report"), config.getoption("--embcheck-ledger")
    baseline = config.getoption("--embcheck-baseline")
    try:
        return Settings(
            seed=config.getoption("--embcheck-seed"),
            profile=config.getoption("--embcheck-profile"),
            device=config.getoption("--embcheck-device"),
            report=Path(folder) if folder else None,
            ledger=Path(ledger) if ledger else None,
            modes=config.getoption("--embcheck-mode"),
            subject=config.getoption("--embcheck-subject"),
            baseline=Path(baseline) if baseline else None,
            witnesses=config.getoption("--embcheck-witnesses"),
            shard=config.getoption("--embcheck-shard"),
        ).checked()
    except UsageError as error:
        raise pytest.UsageError(f"embcheck: {error}") from None


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of xdist's workers."""
    return hasattr(config, "workerinput")


def ledger_of(config: pytest.Config) -> Ledger:
    """The entries in force for the installed torch.

    Raises:
        pytest.UsageError: for a ledger that can't be read.
    """
    from importlib.metadata import PackageNotFoundError, version

    from embcheck.ledger import SHIPPED, Ledger, LedgerError, load

    held: Ledger | None = config.stash.get(_LEDGER, None)
    if held is None:
        try:
            held = load(settings_of(config).ledger or SHIPPED, version("torch"), date.today())
        except LedgerError as error:
            raise pytest.UsageError(f"embcheck: {error}") from None
        except PackageNotFoundError:
            held = Ledger()  # somebody else's session, in an environment without torch
        config.stash[_LEDGER] = held
    return held


_LEDGER: pytest.StashKey[Any] = pytest.StashKey()
_SLOT: pytest.StashKey[Any] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    if is_worker(config):
        return
    settings = settings_of(config)
    ledger_of(config)
    if settings.subject:
        from embcheck.run import UsageError

        try:
            settings.rehearsed()
        except UsageError as error:
            raise pytest.UsageError(f"embcheck: {error}") from None
    from embcheck.session import Session

    config.pluginmanager.register(Session(config, settings), "embcheck-session")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    family = getattr(metafunc.function, "family", None)
    if family is not None and "embcheck_item" in metafunc.fixturenames:
        from embcheck.collect import load_families, load_modes
        from embcheck.item import PROFILES, items_of
        from embcheck.mode import modes_of

        settings = settings_of(metafunc.config)
        if settings.subject:
            # Brought to the subject; families that do not speak of its kind are not among them.
            family = load_families().get(family.name)
        load_modes()
        modes = modes_of(family, settings.modes) if family is not None else ()
        profile, subject = PROFILES[settings.profile], settings.subject or "torch"
        items = items_of(family, metafunc.function.engine, profile, modes, subject) if family and modes else []
        metafunc.parametrize("embcheck_item", items, ids=[f"{item.mode}-{item.part}" for item in items])
    elif "embcheck_entry" in metafunc.fixturenames:
        from embcheck.collect import load_modes
        from embcheck.ledger import Ledger
        from embcheck.mode import running

        ledger = ledger_of(metafunc.config) if not settings_of(metafunc.config).subject else Ledger()
        surveyed = settings_of(metafunc.config).witnesses == "all"
        entries = ledger.entries + (ledger.elsewhere if surveyed else ())
        load_modes()
        modes = running(settings_of(metafunc.config).modes)
        entries = tuple(entry for entry in entries if entry.runs_in(modes))
        metafunc.parametrize("embcheck_entry", entries, ids=[entry.name for entry in entries])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves this shard's share: every N-th of what was selected, so that every shard has some of each family."""
    text = config.getoption("--embcheck-shard")
    if text:
        from embcheck.run import shard_of

        number, count = shard_of(text)
        config.hook.pytest_deselected(items=[item for place, item in enumerate(items) if place % count != number - 1])
        items[:] = items[number - 1 :: count]


@pytest.fixture
def judged(request: pytest.FixtureRequest, embcheck_item: Item) -> Callable[[], None]:
    """Runs the test's item and fails with the violations, if there are any."""

    def judge() -> None:
        from embcheck.collect import statements
        from embcheck.engine import run_item
        from embcheck.item import PROFILES, all_items
        from embcheck.law import FAMILIES
        from embcheck.mode import modes_of
        from embcheck.report.terminal import violations
        from embcheck.run import Batch

        config = request.config
        settings = settings_of(config)
        profile = PROFILES[settings.profile]
        family = FAMILIES[embcheck_item.family]
        watched = Watched(config, request.node.nodeid, embcheck_item.label, profile.limit)
        with watched as (before, probe):
            verdicts = run_item(
                family,
                embcheck_item,
                profile,
                settings.seed,
                ledger_of(config),
                device=settings.device,
                before=before,
                probe=probe,
            )
        modes = modes_of(family, settings.modes)
        if family.modes[0] not in modes or embcheck_item.mode not in family.modes:
            # Cases are made to meet the obligations in a family's own modes.
            verdicts = [replace(verdict, obliges=()) for verdict in verdicts]
        items = len(all_items(family, profile, modes))
        Batch(embcheck_item.label, items, verdicts, statements(family)).attach(request.node)
        text = violations(verdicts)
        if text:
            pytest.fail(text, pytrace=False)

    return judge


@pytest.fixture
def witnessed(request: pytest.FixtureRequest, embcheck_entry: Any) -> Callable[[], None]:
    """Runs a ledger entry's witness and fails if it no longer shows the violation."""

    def check() -> None:
        from embcheck.run import Batch
        from embcheck.verdict import Status
        from embcheck.witness import look, statement

        settings = settings_of(request.config)
        in_force = embcheck_entry in ledger_of(request.config).entries
        verdict = look(embcheck_entry, settings.device, in_force=in_force, surveyed=settings.witnesses == "all")
        Batch(verdict.law, 1, [verdict], [statement(embcheck_entry)]).attach(request.node)
        if verdict.status == Status.VIOLATED:
            pytest.fail("\n".join(verdict.reasons), pytrace=False)

    return check


class Watched:
    """While an item runs in a worker: the crash slot is filled and the watchdog is awake."""

    def __init__(self, config: pytest.Config, nodeid: str, label: str, limit: float) -> None:
        self.config, self.nodeid, self.label, self.limit = config, nodeid, label, limit
        self.watchdog: Any = None

    def __enter__(self) -> tuple[Callable[[bytes], None] | None, Probe | None]:
        import torch
        import torch._dynamo  # which optimizers import at their first step: not on a case's time

        # One thread a worker: cases that need more set it themselves and set it back.
        torch.set_num_threads(1)
        # Products must not be rounded to TF32 or bfloat16 on the way.
        torch.set_float32_matmul_precision("highest")
        if not is_worker(self.config):
            return None, None
        from embcheck.crashes.isolate import probe, ready
        from embcheck.crashes.slot import Slot, Watchdog
        from embcheck.law import FAMILIES

        inputs: dict[str, Any] = self.config.workerinput  # type: ignore[attr-defined]
        folder = Path(inputs["embcheck_run"])
        slot = self.config.stash.get(_SLOT, None)
        if slot is None:
            slot = self.config.stash[_SLOT] = Slot(folder / f"slot-{inputs['workerid']}-{os.getpid()}")
        slot.begin(self.nodeid, self.label)
        family, _, mode, *_ = self.label.split("/")
        if family in FAMILIES and FAMILIES[family].forks:
            ready()
        self.watchdog = Watchdog(self.limit)
        self.watchdog.tick()
        trying: Probe | None = None
        dangerous = folder / "dangerous"
        if dangerous.is_file() and family in dangerous.read_text().split("\n"):
            trying = partial(probe, family, mode)

        def before(case: bytes) -> None:
            slot.running(case)
            self.watchdog.tick()

        return before, trying

    def __exit__(self, *exception: object) -> None:
        if self.watchdog is not None:
            self.watchdog.stop()
