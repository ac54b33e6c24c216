"""A run that is interrupted where pytest does not tell it: while its workers start, and while they end."""

from collections.abc import Iterator
from typing import Any

import pytest


class Interruption:
    """A plug-in of the controlling process: the record of such a run has a footer, and its exit code a reason."""

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
