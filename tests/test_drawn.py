"""The cases of a seed don't depend on what else is loaded."""

from __future__ import annotations

from pathlib import Path

import warm

PROGRAM = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
import embcheck.families.tie_preservation.space as life
from embcheck.subject.collect import load_families
from embcheck.engine.run_item import batches
from embcheck.core.item import PROFILES, Item
from embcheck.families.tie_preservation import state_machine as machine

class Cases(list):
    done, worst, __call__ = False, None, list.append

found = Cases()
batches(load_families()["lookup"], Item("lookup", "torch", "eager", "random"), PROFILES["deep"], 0, found, None)
machine.histories(life.newborn, found.append, 48, 0)
print(*found, sep="\\n")
"""


def drawn(folder: Path, *modules: str) -> list[str]:
    """The random cases of a family and the histories of a machine, in a fork that imports these modules first."""
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
