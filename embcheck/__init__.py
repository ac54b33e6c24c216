"""embcheck proves or refutes, with generated cases, that an embedding obeys the laws that the mathematics promises."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embcheck.conformance import check

try:
    __version__ = version("embcheck")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> object:
    # Importing torch takes seconds: only who calls check() pays for it.
    if name == "check":
        from embcheck.conformance import check

        return check
    raise AttributeError(f"module 'embcheck' has no attribute {name!r}")


__all__ = ["__version__", "check"]
