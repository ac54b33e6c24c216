"""The cases of a seed don't depend on what else is loaded."""

from __future__ import annotations

from pathlib import Path

import warm

PROGRAM = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
from embcheck.subject.collect import load_families
from embcheck.engine.run_item import batches
from embcheck.core.item import PROFILES, Item

class Cases(list):
    done, worst, __call__ = False, None, list.append

found = Cases()
for name, profile in (("lookup", "deep"), ("tie_preservation", "quick")):
    batches(load_families()[name], Item(name, "torch", "eager", "random"), PROFILES[profile], 0, found, None)
print(*found, sep="\\n")
"""


def drawn(folder: Path, *modules: str) -> list[str]:
    """The random cases of two families, in a fork that imports these modules first."""
    done = warm.python("-c", PROGRAM, folder, *modules)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_numbers_in_other_modules_change_no_case(tmp_path: Path) -> None:
    (tmp_path / "literals.py").write_text(
        "\n".join(f"NUMBER_{place} = {place * 2684354 + 1}" for place in range(1, 300))
    )
    alone = drawn(tmp_path)
    assert len(alone) > 1000
    assert alone == drawn(tmp_path, "literals")
