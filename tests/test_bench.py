"""The benchmark runs and prints what it promises; how fast anything is, no test may ask."""

import json
from pathlib import Path

import pytest
from warm import python

from bench import raw
from embcheck.core.case import LookupCase
from embcheck.subject.collect import load_families


def test_throughput_ends_in_json() -> None:
    done = python(
        "-m", "bench.throughput", "--rounds", "1", "--cases", "50", "--profile", "quick", cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for part in ("enumerated", "drawn", "together"):
        assert all(found[part][name] > 0 for name in ("raw", "embcheck", "embcheck/raw"))
    assert found["plain"] > 0
    # Most cases must come out as expected, or the raw loop compares something else.
    assert found["cases"] >= 50
    assert found["raw_unexpected"] <= 0.05 * found["cases"]


@pytest.mark.parametrize("family", ["lookup", "gradient", "padding"])
def test_the_raw_loop_knows_every_case(family: str) -> None:
    space = load_families()[family].space
    cases: list[LookupCase] = [*filter(None, (*space.scope(), *map(space.repair, space.fixed_cases())))]
    spelled = {(case.entry, case.route, case.history, case.layout, case.out_of_range): case for case in cases}
    assert len(spelled) > 20
    for case in spelled.values():
        assert raw.spec(family, case).family == family
