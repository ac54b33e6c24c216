"""The HTML page: one file, nothing from elsewhere, and whatever a record says is text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from embcheck.records.grid import Run
from embcheck.records.record import Record, Writer, read
from embcheck.report.page import render
from embcheck.verdict import Counterexample, Statement, Status, Verdict

HOSTILE = "<script>alert(1)</script>"


def record(torch: str, status: Status, subject: str = "torch") -> Record:
    example = Counterexample(
        "law",
        "family",
        subject,
        "vmap",
        "cpu",
        f"Case({HOSTILE})",
        "value",
        HOSTILE,
        script="</script>" + HOSTILE,
        id="c7",
    )
    verdicts = [
        Verdict("law", "family", subject, "eager", "scope", Status.HOLDS, cases=9, worst=0.25),
        Verdict("law", "family", subject, "vmap", "scope", status, cases=9, counterexamples=(example,)),
        Verdict(
            "ledger: old", "ledger", "torch", "eager", "witness", Status.KNOWN, known=1, counterexamples=(example,)
        ),
    ]
    laws = {"law": Statement("law", "family", f"One is one. {HOSTILE}", "nn.Embedding", "pytorch#1")}
    header = {"versions": {"torch": torch}, "settings": {"seed": "0", "profile": "gate"}, "time": "2026-11-20T12:27:49"}
    return Record(
        header, verdicts, {"stopped": "finished", "exit_code": 0, "cases": 9, "seconds": 1.5, "digest": "0f"}, laws
    )


class Reader(HTMLParser):
    """What a browser would load, run, or point at."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_hostile_subject_is_shown_and_not_run() -> None:
    page = Reader(render([Run("a", record("2.13.0", Status.VIOLATED, HOSTILE))]))
    assert len(page.all("script")) == 1, "the page's own"
    assert not page.all("img")
    assert HOSTILE in "".join(page.text), "shown as text"
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_nothing_comes_from_elsewhere() -> None:
    page = render([Run("a", record("2.13.0", Status.VIOLATED))])
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "@import" not in page
    assert "url(" not in page
    policy = next(
        a["content"] or "" for a in Reader(page).all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy


def test_every_link_leads_somewhere() -> None:
    page = Reader(render([Run("a", record("2.13.0", Status.VIOLATED)), Run("b", record("2.15.0", Status.HOLDS))]))
    anchors = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(anchors) == len(set(anchors))
    for link in page.all("a"):
        assert (link["href"] or "").removeprefix("#") in anchors


def test_a_page_of_two_runs_tells_what_changed() -> None:
    page = render(
        [Run("2.13.0", record("2.13.0", Status.VIOLATED)), Run("2.15.0", record("2.15.0", Status.HOLDS))],
        {0: {("law", "torch", "vmap", "cpu"): "2.13.0 fails, 2.15.0 right"}},
    )
    text = "".join(Reader(page).text)
    for words in ("2.13.0 → 2.15.0", "violated → holds", "2.13.0 fails, 2.15.0 right", "One is one.", "c7", "Findings"):
        assert words in text


def test_what_is_incomplete_says_so(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "record.ndjson")
    writer.header()
    writer.verdict(Verdict("law", "family", "torch", "eager", "scope", Status.HOLDS))
    page = Reader(render([Run("a", read(writer.path)), Run("b", None, "can't be installed: no such release")]))
    text = "".join(page.text)
    assert "incomplete: the run was cut off" in text
    assert "can't be installed: no such release" in text
    assert len([a for _, a in page.tags if a.get("role") == "alert"]) == 2


@pytest.mark.parametrize("status", list(Status))
def test_every_verdict_has_a_word_and_a_sign(status: Status) -> None:
    text = "".join(Reader(render([Run("a", record("2.13.0", status))])).text)
    assert status.word in text
