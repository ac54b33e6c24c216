"""Former names of families, laws, case types and axes: old records, stored failures and users' ledgers have them.

They are in ``aliases.toml`` beside this module, each with its present name, and are dropped after two releases.
"""

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path

from embcheck.core.cause import toml

_TABLE = Path(__file__).with_name("aliases.toml")


@lru_cache(maxsize=4)
def former(kind: str) -> Mapping[str, str]:
    """Present names by former ones, of ``families``, ``laws``, ``cases`` or ``axes``."""
    found: dict[str, str] = toml(_TABLE)[kind]
    return found


def _present(kind: str, name: str) -> str:
    return former(kind).get(name, name)


#: The present name of a law, of a family, of a case type, and of an axis or the fact that is its value.
law, family, case_type, axis = (partial(_present, kind) for kind in ("laws", "families", "cases", "axes"))


@lru_cache(maxsize=512)
def names_of(law: str) -> tuple[str, ...]:
    """A law's name, and those that it had before."""
    return (law, *(before for before, now in former("laws").items() if now == law))
