"""Makes the laws of this checkout importable as ``properties``, adds the option ``--full``, and says how many workers there are."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from embcheck.core.processes import wait_at_rest

wait_at_rest()
sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="Run the tests of embcheck whole where they otherwise run a sample (tests/README.md).",
    )


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One worker more than there are processors: a test that waits for a process which it started leaves its own idle."""
    return (yield) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Workers are forks of one process that has imported torch and the laws; a subject's own imports may start threads."""
    starts = getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput")
    if sys.platform.startswith("linux") and starts and not config.getoption("--embcheck-subject", ""):
        from embcheck.runner.fork_server import ForkServer

        server = ForkServer()
        config.pluginmanager.register(server)
        config.add_cleanup(server.__exit__)


def pytest_collection_finish() -> None:
    """What torch, Hypothesis and the tests themselves are made of lives to the end: nobody need look for garbage in it."""
    gc.freeze()
