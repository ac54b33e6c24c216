"""The benchmark runs and prints what it promises; how fast anything is, no test may ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import raw
from embcheck.core.case import LookupCase
from embcheck.subject.collect import load_families

ROOT = Path(__file__).parents[1]


def test_throughput_ends_in_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.throughput", "--rounds", "1", "--cases", "50"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(found[name] > 0 for name in ("raw", "embcheck", "plain"))
    # Most cases must come out as expected, or the raw loop compares something else.
    assert found["cases"] >= 50
    assert found["raw_unexpected"] <= 0.05 * found["cases"]


@pytest.mark.parametrize("family", ["lookup", "gradient", "padding"])
def test_the_raw_loop_knows_every_case(family: str) -> None:
    space = load_families()[family].space
    cases: list[LookupCase] = [case for case in (*space.scope(), *map(space.repair, space.fixed_cases())) if case is not None]
    spelled = {(case.entry, case.route, case.history, case.layout, case.out_of_range): case for case in cases}
    assert len(spelled) > 30
    for case in spelled.values():
        assert raw.spec(family, case).family == family
