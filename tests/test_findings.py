"""The findings: what is kept of each ledger entry, what is forgotten, and what the page may hold."""

from __future__ import annotations

from pathlib import Path

from packaging.specifiers import SpecifierSet
from typer.testing import CliRunner

from embcheck.cli import app
from embcheck.findings import Finding, keep, kept, outdated, page, tried, unseen, updated
from embcheck.ledger import Entry
from embcheck.verdict import Counterexample, Status, Verdict

ENTRY = Entry("law_*", {"rank": 1}, "Case()", "It is <b>wrong</b>, a_b.", "odd", torch=SpecifierSet("<2.15"))
EXAMPLE = Counterexample(
    "law_a", "f", "torch", "eager", "cpu", "Case()", "value", "1, expected 2", script="import torch\n"
)


def verdict(status: Status) -> Verdict:
    shown = () if status is Status.HOLDS else (EXAMPLE,)
    return Verdict("ledger: odd", "ledger", "torch", "eager", "witness", status, counterexamples=shown)


def test_each_release_is_told_in_order_and_the_script_stays() -> None:
    seen = {"2.13.0+cpu": [verdict(Status.KNOWN)], "2.9.1": [verdict(Status.KNOWN)], "2.15.0": [verdict(Status.HOLDS)]}
    found = updated([ENTRY], {"gone": Finding("Case()")}, seen)
    assert list(found) == ["odd"]
    assert found["odd"] == Finding(
        "Case()", "law_a", "1, expected 2", "import torch\n", {"2.9.1": "wrong", "2.13.0": "wrong", "2.15.0": "right"}
    )
    assert list(found["odd"].releases) == ["2.9.1", "2.13.0", "2.15.0"]


def test_another_witness_starts_anew() -> None:
    old = {"odd": Finding("Case(2)", "law_a", "words", "script", {"2.9.1": "wrong"})}
    assert outdated([ENTRY], old) == ["odd"]
    assert updated([ENTRY], old, {}) == {"odd": Finding("Case()")}
    assert outdated([ENTRY], {"odd": Finding("Case()")}) == []
    assert unseen([ENTRY], {"odd": Finding("Case()")}) == ["odd"]


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = updated([ENTRY], {}, {"2.13.0": [verdict(Status.KNOWN)]})
    keep(found, tmp_path / "findings.json")
    assert kept(tmp_path / "findings.json") == found
    assert kept(tmp_path / "missing.json") == {}


def test_the_page_says_what_there_is_and_escapes_it() -> None:
    text = page([ENTRY], updated([ENTRY], {}, {"2.13.0": [verdict(Status.KNOWN)]}))
    for words in ("## odd", "| [odd](#odd) | wrong |", "`rank = 1`", "<2.15 · tried: 2.13.0 wrong", "no report found"):
        assert words in text
    assert "It is \\<b\\>wrong\\</b\\>, a\\_b." in text
    assert "    import torch" in text


def test_scripts_are_tried_and_what_reads_unwritten_memory_is_told() -> None:
    """A script of ``value`` ends with 1 for it, with 2 for another wrong one, which filled memory brings about."""
    line = "sys.exit(0 if got == expected else 1 if got == wrong else 2)\n"
    head = "import os, sys\nvalue = 7 if 'MALLOC_PERTURB_' in os.environ else 5\ngot, expected, wrong = "
    scripts = {"steady": "5, 4, 5\n", "unwritten": "value, 4, 5\n", "right": "4, 4, 5\n", "broken": "lost, 4, 5\n"}
    written, statuses = tried({name: Finding("Case()", script=head + text + line) for name, text in scripts.items()})
    assert statuses == {"steady": 1, "unwritten": 1, "right": 0, "broken": None}
    assert "else 2" not in written["unwritten"].script
    assert written["steady"].script == head + scripts["steady"] + line


def test_the_command_prints_one_script() -> None:
    name = next(iter(kept()))
    shown = CliRunner().invoke(app, ["findings", "--script", name])
    assert (shown.exit_code, shown.output) == (0, kept()[name].script)
    unknown = CliRunner().invoke(app, ["findings", "--script", f"{name}s"])
    assert unknown.exit_code == 4
    assert f"did you mean {name}" in unknown.output
