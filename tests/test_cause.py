"""Causes: what a ledger says of them, how it is refused, how they are counted."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from embcheck.core.cause import Cause, LedgerError, by_severity, summed_up
from embcheck.core.ledger import read_all
from embcheck.core.shipped_ledger import causes_of, place_of, shipped

ENTRY = """
[[known]]
name = "odd"
law = "lookup_copies_rows"
where = { sparse = true }
witness = "LookupCase(num_embeddings=2, embedding_dim=1, sparse=True)"
reason = "it is so"
"""
CAUSE = """
[cause.lookup-odd]
title = "A lookup is odd."
api = "F.embedding"
severity = "silent-wrong"
"""
BOTH = ENTRY + 'cause = "lookup-odd"\n' + CAUSE


def told(folder: Path, text: str) -> str:
    """What is said of a ledger that is refused."""
    (folder / "ledger.toml").write_text(text, encoding="utf-8")
    with pytest.raises(LedgerError) as caught:
        read_all(folder / "ledger.toml")
    return str(caught.value).removeprefix(f"ledger {folder / 'ledger.toml'}")


def test_an_entry_has_the_reports_of_its_cause(tmp_path: Path) -> None:
    path = tmp_path / "ledger.toml"
    upstream = 'upstream = ["pytorch#1: It is odd", "pytorch#2: So it is"]\nsearched = 2026-11-23\n'
    path.write_text(BOTH + upstream, encoding="utf-8")
    (entry,), causes = read_all(path)
    assert (entry.cause, entry.link) == ("lookup-odd", "pytorch#1: It is odd; pytorch#2: So it is")
    assert causes["lookup-odd"].reported == entry.link
    assert causes["lookup-odd"].searched == date(2026, 11, 23)
    path.write_text(ENTRY, encoding="utf-8")
    (entry,), causes = read_all(path)
    assert (entry.cause, entry.link, causes) == ("", "", {}), "a ledger needs no causes"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ENTRY + 'cause = "lookup-old"\n' + CAUSE, ": odd: no cause 'lookup-old'; did you mean lookup-odd?"),
        (ENTRY + CAUSE, ": no entry has the cause lookup-odd"),
        (ENTRY + "cause = 3", ", entry 1: cause: expected text, got 3"),
        (ENTRY + "[[cause]]", ": cause is no table of tables; causes are [cause.NAME] tables"),
        (BOTH + 'titel = "A"', ", cause lookup-odd: there is no field titel; did you mean title?"),
        (BOTH.replace("A lookup is odd.", ""), ", cause lookup-odd: title is missing"),
        (BOTH.replace('api = "F.embedding"', "api = 3"), ", cause lookup-odd: api: expected text, got 3"),
        (BOTH.replace("silent-wrong", "silently-wrong"), "no severity 'silently-wrong'; did you mean silent-wrong?"),
        (BOTH + 'by_design = "As documented."', "there is no field by_design"),
        (BOTH.replace('severity = "silent-wrong"', ""), "no severity ''; there are silent-wrong"),
        (BOTH + 'searched = "today"', "searched: expected a date, got 'today'"),
        (BOTH + 'fixed = "soon"', "fixed must be a release, such as 2.15.0, not 'soon'"),
        (BOTH + 'upstream = ["pytorch#1"]', "upstream: expected texts such as 'pytorch#1: It fails', not 'pytorch#1'"),
        (BOTH + 'upstream = "pytorch#1: It fails"', "upstream: expected a list"),
        (BOTH + 'snippet = "print(1)"', "snippet must have at most 6 lines, the last an assertion"),
        (BOTH + f'snippet = "{"x = 1" + chr(92) + "n"}{6 * ("y = 1" + chr(92) + "n")}assert x"', "at most 6 lines"),
    ],
)
def test_what_is_wrong_is_said_with_what_is_close(tmp_path: Path, text: str, words: str) -> None:
    assert words in told(tmp_path, text)


def test_the_shipped_entries_have_causes_and_the_worst_come_first() -> None:
    entries, causes = shipped()
    assert {entry.cause for entry in entries} == set(causes)
    names = ["zero-width-refusal-type", "ranks-without-rows", "half-eps-vanishes", "no-such-entry"]
    assert [cause.severity for cause in causes_of(names)] == ["silent-wrong", "raises", "message", ""]
    places = [place_of(name) for name in names]
    assert sorted(places) == [places[2], places[1], places[0], places[3]]
    assert place_of(f"ledger: {names[0]}") == places[0]
    silent = [cause for cause in causes.values() if cause.severity in ("silent-wrong", "memory", "crash")]
    assert by_severity(causes.values())[: len(silent)] == by_severity(silent)


def test_causes_are_counted_once() -> None:
    assert summed_up([]) == ""
    wrong, raises = Cause("a", "A.", "f", "silent-wrong"), Cause("b", "B.", "f", "raises")
    assert summed_up([raises]) == "1 known cause (embcheck known)"
    assert summed_up([wrong, raises]) == "2 known causes (1 silently wrong; embcheck known)"
    assert len(causes_of(["half-eps-vanishes", "half-eps-vanishes-from-radam"])) == 1
