"""What a pytest session is told, in each of its processes: its settings and its ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import pytest

from embcheck.core.options import PYTEST, options_of

if TYPE_CHECKING:
    from embcheck.core.ledger import Ledger


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of xdist's workers."""
    return hasattr(config, "workerinput")


@contextmanager
def refusing() -> Iterator[None]:
    """What is wrong with a setting, a subject or a ledger is a usage error of pytest's."""
    from embcheck.core.ledger import LedgerError
    from embcheck.runner.run import UsageError

    try:
        yield
    except (LedgerError, UsageError) as error:
        raise pytest.UsageError(f"embcheck: {error}") from None


def settings_of(config: pytest.Config) -> Any:
    """The session's settings.

    Raises:
        pytest.UsageError: for a profile or device that does not exist.
    """
    from embcheck.runner.run import Settings

    given = {name: config.getoption(option.pytest) for name, option in options_of(PYTEST).items()}
    with refusing():
        return Settings.of(given).checked()


def given(config: pytest.Config) -> list[str]:
    """The options that differ from their defaults, as pytest takes them."""
    return [
        option.pytest for option in options_of(PYTEST).values() if config.getoption(option.pytest) != option.default
    ]


@lru_cache(maxsize=1)
def ledger_of(config: pytest.Config) -> Ledger:
    """The entries in force for the installed torch.

    Raises:
        pytest.UsageError: for a ledger that can't be read.
    """
    from embcheck.core.ledger import Ledger, load_all

    try:
        with refusing():
            return load_all(settings_of(config).ledgers, version("torch"), date.today())
    except PackageNotFoundError:
        return Ledger()  # somebody else's session, in an environment without torch


def check_regions(ledger: Ledger, settings: Any) -> None:
    """Refuses a user's ledger that speaks of laws or facts that there are not; the shipped one is tested.

    Raises:
        pytest.UsageError: for the first such entry.
    """
    from embcheck.core.ledger import check
    from embcheck.subject.collect import load_families

    laws = {law.name for family in load_families().values() for law in family.laws}
    with refusing():
        # Of a subject's families only those that speak of its kind are there.
        check((*ledger.entries, *ledger.some_machines, *ledger.elsewhere), None if settings.subject else laws)
