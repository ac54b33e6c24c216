"""What GitHub Actions is told: annotations that can't be forged, and a summary in which nothing is markup."""

from __future__ import annotations

from embcheck.records.record import Record
from embcheck.report.github import summary, workflow_commands
from embcheck.verdict import Counterexample, Status, Verdict

EXAMPLE = Counterexample("law", "f", "torch", "vmap", "cpu", "Case()", "value", "100 %\n::error::forged")
BROKEN = Verdict("a|law", "f", "torch, 2", "vmap", "scope", Status.VIOLATED, counterexamples=(EXAMPLE,))
DARK = Verdict("dark", "f", "torch", "eager", "scope", Status.UNKNOWN, reasons=("no case met: empty",))
FINE = Verdict("fine", "f", "torch", "eager", "scope", Status.HOLDS)


def test_a_failure_is_one_line_whatever_it_says() -> None:
    old, broken = workflow_commands([DARK, FINE, BROKEN], excused={DARK.key})[::-1]
    assert broken == "::error title=violated%3A a|law (torch%2C 2%2C vmap)::Case()%0A100 %25%0A::error::forged"
    assert old == "::notice title=unknown%3A dark (torch%2C eager)::no case met: empty"


def test_a_summary_tells_what_fails_and_escapes_it() -> None:
    record = Record({"versions": {"torch": "2.13.0"}}, [BROKEN, DARK, FINE])
    text = summary(record, [], {DARK.key})
    assert "1 violated, 1 unknown, 1 holds" in text
    assert "incomplete: the run was cut off" in text
    assert "<code>a&#124;law</code>" in text
    assert "**unknown** (in the baseline too)" in text
    assert "no change" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.count("|") == 5 for row in rows)
    assert len(rows) == 4
