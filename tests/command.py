"""What the fixture ``command`` gives: a command of embcheck's in this process, as its console script runs it; and what many
tests are given."""

from collections.abc import Callable
from typing import NamedTuple

import pytest


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]
Patch = pytest.MonkeyPatch
