"""Former names of families, laws, case types and axes: old records, stored failures and users' ledgers have them.

They are in ``aliases.toml`` beside this module, each with its present name, and are dropped after two releases.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from embcheck.core.cause import toml

_TABLE = Path(__file__).with_name("aliases.toml")


@lru_cache(maxsize=4)
def former(kind: str) -> Mapping[str, str]:
    """Present names by former ones, of ``families``, ``laws``, ``cases`` or ``axes``."""
    found: dict[str, str] = toml(_TABLE)[kind]
    return found


def law(name: str) -> str:
    """The present name of a law."""
    return former("laws").get(name, name)


def family(name: str) -> str:
    """The present name of a family."""
    return former("families").get(name, name)


def case_type(name: str) -> str:
    """The present name of a case type."""
    return former("cases").get(name, name)


def axis(name: str) -> str:
    """The present name of an axis, or of the fact that is its value."""
    return former("axes").get(name, name)


@lru_cache(maxsize=512)
def names_of(law: str) -> tuple[str, ...]:
    """A law's name, and those that it had before."""
    return (law, *(before for before, now in former("laws").items() if now == law))
