"""What the fixture ``command`` gives: a command of embcheck's in this process, as its console script runs it; and what many
tests are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """All that it said."""
        return self.out + self.err

    def ended(self, code: int | None) -> Said:
        """The same, if it ended with a code; with any, if that is None."""
        assert code in (None, self.code), self.told
        return self


Command = Callable[..., Said]
Patch = pytest.MonkeyPatch
