"""What GitHub Actions is told: annotations that can't be forged, and a summary in which nothing is markup."""

import re
from dataclasses import replace
from types import SimpleNamespace

from records import EXAMPLE, printed_by, verdict

from embcheck.core.verdict import Status
from embcheck.record.compare import Baseline
from embcheck.record.grid import Grid, Run
from embcheck.record.record import Record, Writer
from embcheck.record.totals import Totals, by_word
from embcheck.report.changes import show_grid, table
from embcheck.report.github import summary, workflow_commands
from embcheck.report.page import of_record, render
from embcheck.report.terminal import closing_lines
from embcheck.runner.run import Settings

FORGED = replace(EXAMPLE, mode="vmap", words="100 %\n::error::forged")
BROKEN = verdict(Status.VIOLATED, FORGED, law="a|law", subject="torch, 2", mode="vmap")
DARK = verdict(Status.UNKNOWN, law="dark", reasons=("no case met: empty",))
FINE = verdict(law="fine")


def test_a_failure_is_one_line_whatever_it_says() -> None:
    old, broken = workflow_commands([DARK, FINE, BROKEN], excused={DARK.key})[::-1]
    assert broken == "::error title=violated%3A a|law (torch%2C 2%2C vmap)::LookupCase()%0A100 %25%0A::error::forged"
    assert old == "::notice title=unknown%3A dark (torch%2C eager)::no case met: empty"


def test_a_summary_tells_what_fails_and_escapes_it() -> None:
    record = Record({"versions": {"torch": "2.13.0"}}, [BROKEN, DARK, FINE])
    baseline = Baseline(Record({"versions": {"torch": "2.12.0"}}, [BROKEN]))
    text = summary(record, baseline, "exit code 1: a|law")
    assert "**exit code 1: a&#124;law**" in text.splitlines()
    assert "laws: 1 violated, 1 unknown, 1 holds ·" in text
    assert text.splitlines()[2] == "> **against the baseline: compared across torch 2.12.0 → 2.13.0**"
    assert "incomplete: the run was cut off" in text
    assert "<code>a&#124;law</code>" in text
    assert "**violated** (in the baseline too)" in text
    assert "**unknown** |" in text, "what is unknown is not excused"
    assert "Against the baseline: laws: 2 new." in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    families, failures = rows[:3], rows[3:]
    assert families[2] == "| <code>family</code> | 3 | 1 violated, 1 unknown, 1 holds | 0 |  |"
    assert all(row.count("|") == 6 for row in families)
    assert all(row.count("|") == 5 for row in failures)
    assert len(failures) == 4


def test_what_gave_no_verdict_is_in_summary_page_and_grid() -> None:
    reasons = {"a/torch/eager/scope/0": "SystemExit: 7", "test_b.py": "ModuleNotFoundError: no b"}
    record = Record({}, [FINE], {"stopped": "finished", "exit_code": 1, "unaccounted": reasons})
    grid = printed_by(lambda out: show_grid(Grid([Run("a", record)]), out, trials={}), 400)
    for told in (summary(record), render([of_record(record)]), grid):
        for item, reason in reasons.items():
            assert f"{item}: {reason}" in told.replace("&#95;", "_")


def test_terminal_summary_page_and_footer_count_the_same() -> None:
    """A law in five modes and with two verdicts is one law; a witness of the ledger is none."""
    modes = ("eager", "vmap", "export", "meta", "fake")
    fine = [replace(FINE, mode=mode) for mode in modes]
    mixed = [replace(FINE, law="mixed", mode=mode) for mode in modes[1:]] + [replace(DARK, law="mixed")]
    witness = replace(FINE, law="ledger: x", family="ledger", engine="witness", status=Status.KNOWN)
    verdicts = [*fine, *mixed, witness]
    totals = Totals.of(verdicts)
    assert by_word(totals.laws) == {"unknown": 1, "holds": 1}
    assert by_word(totals.witnesses) == {"known": 1}
    told = "laws: 1 unknown, 1 holds · 1 known cause (embcheck known) · witnesses of the ledger: 1 known"
    assert str(totals) == told
    record = Record({"versions": {"torch": "2.13.0"}}, verdicts, {"stopped": "finished", "exit_code": 1})
    assert f"{told} ·" in summary(record)
    grid = Grid([Run("a", record), Run("b", record)])
    assert grid.totals == totals
    cells = table(grid, every=True).columns[0]._cells
    assert [str(cell) for cell in cells[-3:]] == ["laws: holds", "laws: unknown", "witnesses: known"]
    session = SimpleNamespace(
        settled=verdicts, results=SimpleNamespace(cases=3, digest="0f"), settings=Settings(), stopped="finished",
        unaccounted={}, baseline=None, writer=Writer(None),
    )  # fmt: skip
    assert closing_lines(session)[0].startswith(f"{told} · ")
    page = render([of_record(record)])
    tiles = re.findall(r'<li class="tile (\w+)"><button [^>]*><b>(\d+)</b>', page)
    assert tiles == [("unknown", "1"), ("holds", "1")]
    assert "1 witness of the" in page
    assert "<b>1 known cause (embcheck known)</b>" in page
