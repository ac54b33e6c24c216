"""Makes the laws of this checkout importable as ``properties``, wherever pytest is started, and adds the option ``--full``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="Run the tests of embcheck whole where they otherwise run a sample (tests/README.md)."
    )
