"""The HTML page: one file, nothing from elsewhere, and whatever a record says is text."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from records import verdict, written

from embcheck.core.claim_record import HOLDS, ONLY_IF, REFUTED, Claimed, Tutorial
from embcheck.core.plot_data import Curve, Figure, Histogram
from embcheck.core.shipped_ledger import shipped
from embcheck.core.verdict import LEDGER, Counterexample, Statement, Status, Verdict
from embcheck.record.audited import AS_BUILT, BUILT, FAMILY, noted, told
from embcheck.record.grid import Run
from embcheck.record.record import Record, read
from embcheck.report.page import render

HOSTILE = "<script>alert(1)</script>"
ENDED = {"stopped": "finished", "exit_code": 0}


def record(torch: str, status: Status, subject: str = "torch") -> Record:
    example = Counterexample(
        "law", "family", subject, "vmap", "cpu", f"LookupCase({HOSTILE})", "value", HOSTILE,
        script="</script>" + HOSTILE, id="c7",
    )  # fmt: skip
    verdicts = [
        verdict(subject=subject, cases=9, worst=0.25),
        verdict(status, example, subject=subject, mode="vmap", cases=9),
        verdict(Status.KNOWN, example, law="ledger: old", family=LEDGER, engine="witness", known=1),
    ]
    laws = {"law": Statement("law", "family", f"One is one. {HOSTILE}", "nn.Embedding", "pytorch#1")}
    header = {"versions": {"torch": torch}, "settings": {"seed": "0", "profile": "gate"}, "time": "2026-11-20T12:27:49"}
    return Record(header, verdicts, ENDED | {"cases": 9, "seconds": 1.5, "digest": "0f"}, laws)


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

    def words(self) -> str:
        return " ".join("".join(self.text).split())


def read_safely(page: str) -> Reader:
    """The page, which runs its own script alone, loads nothing, shows a hostile text as text, and links to what is there."""
    found = Reader(page)
    assert len(found.all("script")) == 1, "the page's own"
    assert not found.all("img")
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert HOSTILE in "".join(found.text)
    anchors = [attributes["id"] or "" for _, attributes in found.tags if attributes.get("id")]
    assert len(anchors) == len(set(anchors))
    assert {(link["href"] or "").removeprefix("#") for link in found.all("a")} <= set(anchors)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}, "a part of the page itself"
    (policy,) = (a["content"] or "" for a in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy
    return found


def test_figures_are_drawn_in_the_page_with_their_text_escaped() -> None:
    points = (0.0, 1.0, 2.0)
    shown = record("2.13.0", Status.VIOLATED, HOSTILE)
    curves = Curve(HOSTILE, points, points, points, points), Curve("N(0, 1)", points, points)
    shown.figures["law"] = [
        Figure(f"Loss {HOSTILE}", "step", "loss", curves[:1]),
        Figure("Values $x$", "value", "density", curves[1:], Histogram("v", points, (1.0, 2.0))),
    ]
    page = read_safely(render([Run("a", shown)]))
    assert len(page.all("svg")) == 2
    assert {"Values $x$", "N(0, 1)", "density", HOSTILE} <= {text.strip() for text in page.text}


def test_a_page_of_two_runs_tells_what_changed() -> None:
    page = render(
        [Run("2.13.0", record("2.13.0", Status.VIOLATED)), Run("2.15.0", record("2.15.0", Status.HOLDS))],
        {0: {("law", "torch", "vmap", "cpu"): "2.13.0 fails, 2.15.0 right"}},
    )
    text = read_safely(page).words()
    for words in ("2.13.0 → 2.15.0", "violated → holds", "2.13.0 fails, 2.15.0 right", "One is one.", "c7", "Findings"):
        assert words in text


@pytest.mark.parametrize(
    ("elsewhere", "words"),
    [
        ({}, "torch in vmap; no other mode was asked on this case"),
        ({"eager": "holds"}, "torch in vmap; eager obeys the law on this case"),
        ({"eager": "not applicable"}, "torch in vmap; eager not applicable"),
    ],
)
def test_a_page_says_of_the_case_alone_which_modes_obey_the_law(elsewhere: dict[str, str], words: str) -> None:
    shown = record("2.13.0", Status.VIOLATED)
    shown.verdicts = [
        replace(each, counterexamples=tuple(replace(e, elsewhere=elsewhere) for e in each.counterexamples))
        for each in shown.verdicts
    ]
    text = Reader(render([Run("a", shown)])).words()
    assert f"wrong{words}, on cpu (a)" in text
    assert "holds in" not in text, "the law holds in eager, but nothing says so of this case"


def test_what_is_incomplete_says_so(tmp_path: Path) -> None:
    cut_off = read(written(tmp_path, verdict(), stopped=""))
    page = Reader(render([Run("a", cut_off), Run("b", None, "can't be installed: no such release")]))
    assert "incomplete: the run was cut off" in page.words()
    assert "can't be installed: no such release" in page.words()
    assert len([a for _, a in page.tags if a.get("role") == "alert"]) == 2


# -- claims ------------------------------------------------------------------------------------------------------

LATE = Tutorial("late.md", "晚", "Late")
EARLY = Tutorial("early.md", f"早 {HOSTILE}", "Early")
CLAIMED = (
    Claimed("a.one", "One is one.", LATE, "1", f"一 {HOSTILE}", "one", HOLDS, chance=1e-13, bound_by="Hoeffding"),
    Claimed("a.two", "Two is two.", LATE, "2", "二", "two", ONLY_IF, "it is two"),
    Claimed("a.three", "Three is two.", LATE, "3", "x == 2", "", REFUTED, "it is three"),
    Claimed("b.four", "Four is four.", EARLY, "4", "四", "four", HOLDS),
)


def record_of_claims(*violated: str) -> Record:
    laws = {made.id: Statement(made.id, "tutorial_claims", made.sentence, claim=made) for made in CLAIMED}
    accepted = "tutorial_claims_is_accepted"
    laws[accepted] = Statement(accepted, "tutorial_claims", "Nothing is raised.")
    told = {"family": "tutorial_claims", "engine": "all", "cases": 3}
    statuses = {law: Status.VIOLATED if law in violated else Status.HOLDS for law in laws}
    verdicts = [verdict(each, law=law, reasons=(f"seen in {law}",), **told) for law, each in statuses.items()]
    return Record({"versions": {"torch": "2.13.0"}}, verdicts, ENDED, laws)


def claims_of(page: str) -> str:
    return page.partition('<section id="claims"')[2].partition('<section id="runs"')[0]


def test_claims_stand_by_tutorial_with_what_is_refuted_first() -> None:
    page = render([Run("a", record_of_claims())])
    shown = claims_of(page)
    order = [
        shown.index(words)
        for words in ("Early", "b.four", "Late", "a.three", "a.two", "a.one", "tutorial_claims_is_accepted")
    ]
    assert order == sorted(order)
    assert "a.one" not in page.partition('<section id="claims"')[0].partition('<section id="laws"')[2]
    text = Reader(shown).words()
    for words in ("✗ 1 refuted ◐ 1 only if ✓ 1 holds", "晚 Late · late.md", f"一 {HOSTILE} one late.md:1", "x == 2 late.md:3",
                  "only if: it is two", "instead: it is three", "seen in a.two",
                  "chance of judging a right torch wrong: at most 3e-13 (3 cases, 1e-13 each): Hoeffding"):  # fmt: skip
        assert words in text, words
    assert text.count("right torch wrong: ") == 1
    quotes = {attributes.get("lang") for attributes in Reader(shown).all("q")}
    assert quotes == {"zh", None}, "what has no gloss is English or code"


def test_a_claim_that_comes_out_otherwise_is_first_and_leads_to_what_came_out() -> None:
    page = render([Run("a", record_of_claims("a.one"))])
    shown = claims_of(page)
    assert shown.index("a.one") < shown.index("a.three")
    assert "! 1 otherwise than stated ✗ 1 refuted" in Reader(shown).words()
    assert [link["href"] for link in Reader(shown).all("a")] == ["#law-tutorial_claims-a-one"]
    read_safely(page)


def test_a_record_without_claims_has_them_as_laws() -> None:
    """One of a former format, whose laws say nothing of tutorials."""
    former = record_of_claims()
    former.laws.clear()
    shown = claims_of(render([Run("a", former)]))
    assert all(f"law-tutorial_claims-{name}" in shown for name in ("a-one", "a-two", "tutorial_claims_is_accepted"))


# -- audits ------------------------------------------------------------------------------------------------------


def finding(subject: str, law: str, mode: str = AS_BUILT) -> Counterexample:
    return Counterexample(
        law, FAMILY, subject, mode, "cpu", f"{subject}: head.weight", "tie is missing: head.weight",
        told("two Parameters", f"trained apart {HOSTILE}", "assign it"), path="head.weight", got="two Parameters",
        script=f"print({HOSTILE!r})", script_confirmed=True, also=("other_law",), id="0f0f0f",
    )  # fmt: skip


def audited(subject: str, *found: Counterexample, unbuilt: str = "", failure: str = "") -> list[Verdict]:
    """What an audit writes of a model: two laws, one of them in two variants."""
    told: dict[str, Any] = {"family": FAMILY, "subject": subject, "mode": AS_BUILT, "engine": FAMILY}
    if unbuilt:
        return [verdict(Status.NOT_APPLICABLE, law=BUILT, reasons=(unbuilt,), **told)]
    laws = (("the_tie", AS_BUILT), ("the_tie", "flipped"), ("resizes", AS_BUILT))
    verdicts = []
    for law, mode in laws:
        mine = tuple(example for example in found if (example.law, example.mode) == (law, mode))
        status = Status.VIOLATED if mine else Status.UNKNOWN if failure and law == "resizes" else Status.HOLDS
        reasons = (noted("a design choice"), *((failure,) if status is Status.UNKNOWN else ()))
        verdicts.append(verdict(status, *mine, law=law, cases=1, reasons=reasons, **told | {"mode": mode}))
    skipped = verdict(Status.NOT_APPLICABLE, law="pads", reasons=("no padding_idx",), **told)
    return [*verdicts, skipped, verdict(law=BUILT, seconds=1.5, reasons=("Tiny · table t (9×4)",), **told)]


def audit_record(*verdicts: list[Verdict]) -> Record:
    laws = {law: Statement(law, FAMILY, f"{law} holds. {HOSTILE}") for law in ("the_tie", "resizes", "pads")}
    header = {"versions": {"torch": "2.13.0"}, "settings": {"expect": "auto"}}
    return Record(header, [one for each in verdicts for one in each], {"stopped": "finished", "exit_code": 1}, laws)


def test_an_audit_has_a_section_of_its_own_with_everything_that_was_said() -> None:
    bad = f"m:{HOSTILE}"
    verdicts = audit_record(
        audited("m:clean"),
        audited(bad, finding(bad, "the_tie", "flipped")),
        audited("m:slow", failure="no end after 60 s"),
        audited("hf:x:XForCausalLM", unbuilt="no tiny configuration works"),
    )
    page = read_safely(render([Run("a", verdicts)]))
    text = page.words()
    for words in (
        "1 finding in 4 audited models", "tie is missing 1 model", "head.weight", "two Parameters", "trained apart",
        "assign it", "other_law", "run: it exits 1", "– not applicable",
        "a design choice", "no padding_idx:", "no end after 60 s:", "no tiny configuration works", "○ not built",
        "table t (9×4)", "x XForCausalLM",
    ):  # fmt: skip
        assert words in text, words
    assert "note: " not in text
    assert "Laws × modes" not in text, "there are no laws beside those of the audit"
    found, *rows = [a["data-status"] for name, a in page.tags if name == "details" and "data-text" in a]
    assert found == "violated"
    assert rows == ["violated", "unknown", "holds", "not-built"], "models with findings come first"


def test_the_laws_of_a_run_and_an_audit_stand_side_by_side() -> None:
    example = finding("m:f", "resizes")
    columns = [
        Run("2.13.0", record("2.13.0", Status.HOLDS)),
        Run("before", audit_record(audited("m:f", example))),
        Run("after", audit_record(audited("m:f"))),
    ]
    page = Reader(render(columns))
    text = page.words()
    for words in ("Laws × modes", "What is said of each model", "before → after", "violated → holds", "resizes · m:f"):
        assert words in text, words
    assert "2.13.0 → before" not in text
    tools = [a["data-over"] for name, a in page.tags if a.get("data-over")]
    assert tools == ["#audit, #models", "#failing, #grid, #laws, #findings, #claims"]


def test_what_fails_comes_first_whole_and_what_holds_is_left_out_of_the_grid() -> None:
    law = Statement("law_b", "family", "Two is two.", "definition")
    bad = record("2.13.0", Status.VIOLATED)
    bad.laws["law_b"] = law
    bad.verdicts.append(verdict(law="law_b", cases=9))
    page = render([Run("a", bad)])
    failing, _, rest = page.partition('<section id="failing"')[2].partition('<section id="grid"')
    for words in ('id="law-family-law"', " open>", "One is one.", "Script of law"):
        assert words in failing
    grid, _, laws = rest.partition('<section id="laws"')
    assert "#law-family-law" in grid
    assert "law_b" not in grid
    assert "1 of 2 laws are left out" in grid
    assert 'id="law-family-law_b"' in laws
    assert 'id="law-family-law"' not in laws
    buttons = [attributes["data-only"] for attributes in Reader(page).all("button") if "data-only" in attributes]
    assert set(buttons) >= {"holds", "violated"}


def test_the_ledger_is_one_table_by_cause_without_scripts() -> None:
    entries, _ = shipped()
    named = [entry for entry in entries if entry.cause == "embedding_bag-behind-last-offset"]
    made = record("2.13.0", Status.HOLDS)
    for entry in named:
        made.verdicts.append(
            verdict(Status.KNOWN, law=f"ledger: {entry.name}", family=LEDGER, engine="witness", known=1)
        )
    findings = render([Run("a", made)]).partition('<section id="findings"')[2].partition("</section>")[0]
    assert len(named) > 1
    assert findings.count('<th scope="row">') == 2, "this cause, and the entry of another ledger"
    assert all(entry.name in findings for entry in named)
    assert "<pre" not in findings
    assert findings.index("embedding_bag-behind-last-offset") < findings.index(">old<")
