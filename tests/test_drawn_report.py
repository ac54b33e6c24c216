"""What is told of drawn faults: how many are killed, in words and as JSON; and the command that draws them."""

import json
from pathlib import Path

import pytest
from warm import python

from selfcheck.aiming import ENOUGH, Aimed
from selfcheck.drawn import wilson
from selfcheck.judging import DrawnResult
from selfcheck.report import lines, too_low


@pytest.mark.parametrize(
    ("killed", "total", "low", "high"),
    [(380, 380, 0.98999, 1.0), (376, 380, 0.97325, 0.99590), (0, 0, 0.0, 1.0), (0, 10, 0.0, 0.27753)],
)
def test_wilson(killed: int, total: int, low: float, high: float) -> None:
    assert [round(end, 5) for end in wilson(killed, total)] == [low, high]


def test_a_report_counts_only_kills() -> None:
    line = "embedding  rank=1  ->  swap"
    results = [
        DrawnResult(line, "killed", 9, 2, 2, ("rows",), "a"),
        DrawnResult(line, "killed", 9, 8, 1, ("rows",), "a"),
        DrawnResult("embedding  rank=1 & numel=3  ->  stale", "survived", 9, 9, 9, aimed=Aimed(5, 5, ("rows",), "b")),
        DrawnResult(line, "not reached", aimed=Aimed()),
        DrawnResult(line, "equivalent", aimed=Aimed(ENOUGH)),
    ]
    text = list(lines(results, "quick", 7, 1234))
    assert text[0] == "quick kills 2 of 4 (50.0 %, Wilson 95 % 15.0–85.0) drawn faults on 1,234 cases, seed 7"
    assert text[1].startswith("of those reached 2 of 3 (66.7 %")
    assert "of distinguished faults 1 of 3 (33.3 %" in text[1]
    assert text[2] == "of 2 that it leaves, cases aimed at them kill 1"
    assert [row.split() for row in text[4:7]] == [
        ["all", "2", "4", "50.0", "15.0–85.0", "1", "1", "0", "1", "0", "0", "1"],
        ["order", "1", "2", "3", "66.7", "20.8–93.9", "0", "1", "0", "1", "0", "0", "1"],
        ["order", "2", "0", "1", "0.0", "0.0–79.3", "1", "0", "0", "0", "0", "0", "0"],
    ]
    assert "violations per changed case that was judged: stale 0/9, swap 2/3" in text
    at = text.index("survived; each replays with: embcheck selfcheck --profile quick --seed 7 --fault LINE")
    assert text[at + 1].startswith(
        "  'embedding  rank=1 & numel=3  ->  stale'  met by 9 cases, changed 9; killed by an aimed"
    )
    assert too_low(results * 9, "quick")
    assert not too_low(results[:2], "quick")


def test_the_command_replays_a_line(tmp_path: Path) -> None:
    given = ("--fault", "one_hot  rank=2  ->  swap", "--profile", "quick", "--jobs", "1", "--json", tmp_path / "found")
    done = python("-c", _ONLY_ONE_HOT, *given)  # whose forks need a parent that has computed nothing
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("quick kills 1 of 1")
    assert json.loads((tmp_path / "found").read_text())["groups"]["all"]["killed"] == 1


#: The command on one family's cases.
_ONLY_ONE_HOT = """
import sys
from selfcheck import runner
runner.families_of = lambda *given: ("one_hot",)
sys.argv[1:1] = ["selfcheck"]
from embcheck.cli.main import main
main()
"""
