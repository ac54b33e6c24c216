"""embcheck tests embeddings against their mathematical definition: exhaustively for small shapes, generated cases beyond."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embcheck import strategies
    from embcheck.conformance import check, parametrize
    from embcheck.declaration import declare

try:
    __version__ = version("embcheck")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"


#: What is offered, and where it is.  Importing torch takes seconds: only who calls one of these pays for it.
_OFFERED = {"check": "conformance", "parametrize": "conformance", "declare": "declaration"}


def __getattr__(name: str) -> object:
    if name == "strategies":
        return import_module("embcheck.strategies")
    if name in _OFFERED:
        return getattr(import_module(f"embcheck.{_OFFERED[name]}"), name)
    raise AttributeError(f"module 'embcheck' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = ["__version__", "check", "declare", "parametrize", "strategies"]
