"""An entry excuses exactly its region: its law, mode, device and kinds; its witness lies in it, and it has a cause."""

import ast
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from test_ledger import CAUSED, ENTRY, entry

from embcheck.core.case import LookupCase
from embcheck.core.cause import Cause, by_severity, summed_up
from embcheck.core.comparison import within
from embcheck.core.ledger import SHIPPED, Ledger, LedgerError, check, read_all
from embcheck.core.ledger import read as read_ledger
from embcheck.core.outcome import Outcome
from embcheck.core.result import Difference, Unreachable, kind_of
from embcheck.core.shipped_ledger import causes_of, place_of, shipped
from embcheck.engine.execute import read
from embcheck.engine.run_item import feed
from embcheck.engine.tally import Tallies
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families

ROOT = Path(__file__).parents[1]
#: The kinds that a variable may be where a `Difference` is made, by file and name.
NAMED = {
    ("comparison.py", "kind"): ("value", "missing", "bits: value"),
    ("law.py", "symptom"): ("crash *", "hang"),
    ("test_initializers.py", "what"): ("mean", "mean square"),
}
#: No law finds these: what a claim's page prints.
UNLISTED = {"seen"}


@pytest.mark.parametrize(
    ("where", "facts", "covered"),
    [
        ({}, {}, True),
        ({"sparse": True}, {"sparse": True}, True),
        ({"sparse": True}, {"sparse": False}, False),
        ({"sparse": True, "rank": 0}, {"sparse": True, "rank": 1}, False),
        ({"dtype": ["float16", "bfloat16"]}, {"dtype": "bfloat16"}, True),
        ({"dtype": ["float16", "bfloat16"]}, {"dtype": "float32"}, False),
        ({"rank": 1}, {"rank": True}, False),
        ({"sparse": True}, {"sparse": 1}, False),
        ({"colour": "red"}, {"sparse": True}, False),
    ],
)
def test_a_region_is_a_conjunction_over_facts(where: dict[str, Any], facts: dict[str, Any], covered: bool) -> None:
    assert entry(where=where).covers(facts) is covered


def test_a_region_covers_a_case_as_it_covers_its_facts() -> None:
    entries = read_ledger(SHIPPED)
    for family in load_families().values():
        concerning = [each for each in entries if any(each.speaks_of(law.name) for law in family.laws)]
        small = itertools.islice(family.space.small(), 0, 600, 13)
        for case in [*small, *itertools.islice(family.space.product(), 0, 600, 13)]:
            facts = case.facts()
            axes = {name: axis for name, axis in zip(case._fields, case, strict=True) if not isinstance(axis, tuple)}
            assert {name: facts.get(name) for name in axes} == axes, case
            for each in concerning:
                assert each.covers_case(case) is each.covers(facts), (each.name, case)
    for each in entries:  # of which most lie in no region: each witness lies in one
        assert each.covers_case(each.case), each.name


def test_an_entry_excuses_its_law_mode_device_and_kinds_only() -> None:
    narrow = entry(law="*_is_accepted", mode="vmap", device="cpu", kind="shape, raised *", where={"sparse": True})
    ledger = Ledger((narrow,))
    raised = Difference("raised IndexError", "error", 1, 2, "another")
    right: Any = ("lookup_is_accepted", "vmap", "cpu", raised, LookupCase(2, 2, sparse=True))
    assert ledger.find(*right) is narrow
    others = ("lookup_copies_rows", "eager", "cuda", replace(raised, kind="value"), LookupCase(2, 2, sparse=False))
    for position, wrong in enumerate(others):
        asked = [*right]
        asked[position] = wrong
        assert ledger.find(*asked) is None, wrong


def test_the_kinds_of_all_elements_count() -> None:
    """A NaN behind a number that is known to be wrong is no such number."""
    observed = Outcome({"weight_grad": torch.tensor([7.0, np.nan, 9.0])}, read).weight_grad
    whole = within(observed, np.array([1.0, 2.0, 3.0]), 0.0)
    assert isinstance(whole, Difference)
    parts = list(whole.apart())
    assert [(each.kind, each.path, each.elements.differ.tolist()) for each in parts if each.elements is not None] == [
        ("bound", 'seen["weight_grad"][0]', [True, False, True]),
        ("bound: NaN", 'seen["weight_grad"][1]', [False, True, False]),
    ]
    assert [entry(kind="bound").excuses(each, LookupCase(2, 2)) for each in parts] == [True, False]
    assert [entry(kind="bound, bound: NaN").excuses(each, LookupCase(2, 2)) for each in parts] == [True, True]


def test_what_must_not_run_is_neither_tried_elsewhere_nor_a_smaller_case() -> None:
    family = load_families()["lookup"]
    crash = entry(law="lookup_is_accepted", where={"numel": 1}, excluded=True)
    both = Ledger((entry(law="a"), crash))
    assert both.excludes(["a", crash.law], "eager", "cpu") == (crash,)
    assert both.excludes(["a"], "eager", "cpu") == ()
    probe = Mock(side_effect=lambda cases: ["crash SIGSEGV"] * len(cases))
    tallies = Tallies(family, MODES["eager"], Ledger((crash,)), probe=probe)
    fatal, other = LookupCase(3, 2, shape=(1,)), LookupCase(3, 2, shape=(2,))
    feed(tallies, [fatal, other], probe)
    probe.assert_called_once_with([other])
    assert (tallies.accept.known, tallies.accept.violations) == (1, 1)
    (result,) = tallies.evaluate(family.laws[:1], fatal)
    assert isinstance(result, Unreachable)
    assert probe.call_count == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"witness": "3"}, "not a case"),
        ({"witness": "LookupCase(num_embeddings=2)"}, "embedding_dim"),
        ({"where": {"colour": "red"}}, "no fact 'colour'; there are all_padding"),
        ({"where": {"spars": True}}, "no fact 'spars'; did you mean sparse"),
        ({"where": {"sparse": True}}, "outside the entry's own region"),
    ],
)
def test_a_witness_must_lie_in_its_region(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(LedgerError, match=words) as caught:
        _ = entry(**fields).case
    assert str(caught.value).startswith("ledger entry n: ")


def test_an_unknown_law_is_told_with_what_is_close_to_it() -> None:
    laws = ["lookup_copies_rows", "lookup_is_accepted"]
    check([entry(law="lookup_*")], laws)
    check([entry(law="lokup_copies_rows")], None)
    with pytest.raises(
        LedgerError, match=r"^ledger entry n: no law 'lokup_copies_rows'; did you mean lookup_copies_rows"
    ):
        check([entry(law="lokup_copies_rows")], laws)
    with pytest.raises(LedgerError, match=r"^ledger entry n: no law 'gone'; see `embcheck laws`$"):
        check([entry(law="gone")], laws)
    with pytest.raises(LedgerError, match="did you mean sparse"):
        check([entry(), entry(law="lookup_*", where={"spars": True})], None)


# -- kinds ------------------------------------------------------------------------------------------------------------


def kinds_in_the_code() -> Iterator[str]:
    """Every kind that a `Difference` is made with; what it is told of stands as ``*``."""
    yield from ("crash *", "hang")
    for sort, number in itertools.product(("value", "bound", "bits"), (1.0, 0.0, math.nan, math.inf)):
        yield kind_of(sort, number, 2.0)
    for path in (*ROOT.glob("embcheck/**/*.py"), *ROOT.glob("properties/**/*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match call:
                case ast.Call(func=ast.Name(id="Difference"), args=[ast.Constant(value=str(kind)), *_]):
                    yield kind
                case ast.Call(
                    func=ast.Name(id="Difference"),
                    args=[ast.JoinedStr(values=[ast.Constant(value=str(first)), *_]), *_],
                ):
                    yield f"{first}*"
                case ast.Call(func=ast.Name(id="Difference"), args=[ast.Name(id=name), *_]):
                    yield from NAMED[path.name, name]


def test_the_page_lists_every_kind() -> None:
    page = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    section = page.partition("\n## Kinds\n")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    others = section.partition("The others")[2]
    listed = re.findall(r"`([^`]+)`", "\n".join([*first_cells, others]))
    assert sorted(listed) == sorted(set(kinds_in_the_code()) - UNLISTED)
    for each in read_ledger(SHIPPED):
        for kind in each.kind.split(", "):
            assert any(fnmatchcase(kind, known) or fnmatchcase(known, kind) for known in listed), (each.name, kind)


# -- causes -----------------------------------------------------------------------------------------------------------


def test_an_entry_has_the_reports_of_its_cause(tmp_path: Path) -> None:
    path = tmp_path / "ledger.toml"
    upstream = 'upstream = ["pytorch#1: It is odd", "pytorch#2: So it is"]\nsearched = 2026-11-23\n'
    path.write_text(CAUSED + upstream, encoding="utf-8")
    (entry,), causes = read_all(path)
    assert (entry.cause, entry.link) == ("lookup-odd", "pytorch#1: It is odd; pytorch#2: So it is")
    assert causes["lookup-odd"].reported == entry.link
    assert causes["lookup-odd"].searched == date(2026, 11, 23)
    path.write_text(ENTRY, encoding="utf-8")
    (entry,), causes = read_all(path)
    assert (entry.cause, entry.link, causes) == ("", "", {}), "a ledger needs no causes"


def test_the_shipped_entries_have_causes_and_the_worst_come_first() -> None:
    entries, causes = shipped()
    assert {entry.cause for entry in entries} == set(causes)
    homes = {report.partition("#")[0] for cause in causes.values() for report in cause.upstream}
    assert homes == {"pytorch", "uxlfoundation/oneDNN"}, "another project's issue is no report of this bug"
    names = ["zero-width-refusal-type", "ranks-without-rows", "half-eps-vanishes", "no-such-entry"]
    assert [cause.severity for cause in causes_of(names)] == ["silent-wrong", "raises", "message", ""]
    places = [place_of(name) for name in names]
    assert sorted(places) == [places[2], places[1], places[0], places[3]]
    assert place_of(f"ledger: {names[0]}") == places[0]
    fatal = {e.cause for e in entries if not e.of_other_releases and e.kind.startswith(("crash", "hang"))}
    assert {name for name, cause in causes.items() if cause.severity == "crash"} <= fatal, (
        "they end it in releases of today"
    )
    silent = [cause for cause in causes.values() if cause.severity in ("silent-wrong", "memory", "crash")]
    assert by_severity(causes.values())[: len(silent)] == by_severity(silent)


def test_each_text_of_the_ledger_stands_by_itself_in_plain_words() -> None:
    """A reason that leans on another's names that entry; what stands *behind* may be before or after."""
    entries, causes = shipped()
    texts = {entry.name: entry.reason for entry in entries} | {name: cause.title for name, cause in causes.items()}
    vague = re.compile(r"\bAs above|\bThey |\bbehind\b(?!-)|(?<!-)\banew\b|without a word")
    plain = {name: re.sub(r"\b\w+(-[\w^]+)+", "", text) for name, text in texts.items()}
    assert [name for name, text in plain.items() if vague.search(text)] == []
    likened = [re.match(r"As ([\w^-]+)", entry.reason) for entry in entries]
    assert {found[1] for found in likened if found} <= {entry.name for entry in entries}


def test_causes_are_counted_once() -> None:
    assert summed_up([]) == ""
    wrong, raises = Cause("a", "A.", "f", "silent-wrong"), Cause("b", "B.", "f", "raises")
    assert summed_up([raises]) == "1 known cause (embcheck known)"
    assert summed_up([wrong, raises]) == "2 known causes (1 silently wrong; embcheck known)"
    assert len(causes_of(["half-eps-vanishes", "half-eps-vanishes-from-radam"])) == 1
