"""The nightly workflow forgets a failure when replay says FIXED, and for nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

WORKFLOW = Path(__file__).parents[1] / "ci" / "workflows" / "nightly.yml"

#: What replay says of each failure, by its id, and how it ends.
ANSWERS = {
    "aaaaaa": ("FIXED  law  Case()", 0),
    "bbbbbb": ("FAILED  law  Case()", 1),
    "cccccc": ("ERROR  law  Case()\n  raised ValueError", 3),
    "dddddd": ("", 0),
    "eeeeee": ("", -9),
}


def step() -> str:
    """The shell program of the step that tries the kept failures again."""
    found = re.search(r"id: kept\n\s+shell: bash\n\s+run: \|\n(.*?)\n {6}- ", WORKFLOW.read_text(), re.DOTALL)
    assert found
    return textwrap.dedent(found[1])


@pytest.mark.parametrize("kept", [list(ANSWERS), ["aaaaaa"], []])
def test_only_what_is_fixed_is_forgotten(tmp_path: Path, kept: list[str]) -> None:
    failures, programs = tmp_path / "failures", tmp_path / "bin"
    failures.mkdir()
    programs.mkdir()
    cases = []
    for failure in kept:
        said, code = ANSWERS[failure]
        (failures / f"{failure}.json").write_text("{}")
        (failures / f"{failure}.py").write_text("")
        end = f"exit {code}" if code >= 0 else "kill -9 $$"
        cases.append(f"{failure}) printf '%s\\n' '{said}'; {end} ;;")
    (programs / "embcheck").write_text(f'#!/bin/bash\ncase "$2" in\n{chr(10).join(cases)}\nesac\n')
    (programs / "embcheck").chmod(0o755)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step()],
        cwd=tmp_path, env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}, check=False,
    )  # fmt: skip
    left = sorted(path.stem for path in failures.glob("*.json"))
    assert left == [failure for failure in kept if failure != "aaaaaa"]
    assert sorted(path.stem for path in failures.glob("*.py")) == left
    assert done.returncode == int(bool(left))
