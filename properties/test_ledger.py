"""The ledger: every known violation is still one."""

from collections.abc import Callable


def test_witness(witnessed: Callable[[], None]) -> None:
    """A witness that no longer fails makes its entry stale, and that fails the run."""
    witnessed()
