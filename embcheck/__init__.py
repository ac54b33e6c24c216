"""embcheck tests embeddings against their mathematical definition: exhaustively for small shapes, generated cases beyond."""

from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embcheck import strategies
    from embcheck.core.declaration import declare
    from embcheck.runner.check import LawViolated, check, parametrize

    __version__: str

#: What is offered, and where it is.  Importing torch takes seconds: only who calls one of these pays for it.
_OFFERED = {
    "LawViolated": "embcheck.runner.check:LawViolated",
    "check": "embcheck.runner.check:check",
    "parametrize": "embcheck.runner.check:parametrize",
    "declare": "embcheck.core.declaration:declare",
    "strategies": "embcheck.strategies:",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version  # which a run has no need of

        try:
            return version("embcheck")
        except PackageNotFoundError:  # run from a checkout that is not installed
            return "0+unknown"
    if name in _OFFERED:
        return resolve_name(_OFFERED[name])
    raise AttributeError(f"module 'embcheck' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = ["LawViolated", "__version__", "check", "declare", "parametrize", "strategies"]
