"""Makes the laws of this checkout importable as ``properties``, wherever pytest is started, and adds the option ``--full``."""

import gc
import sys
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


def pytest_collection_finish() -> None:
    """What torch, Hypothesis and the tests themselves are made of lives to the end: nobody need look for garbage in it."""
    gc.freeze()
