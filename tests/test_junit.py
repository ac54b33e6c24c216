"""The XML of a run: a test case for each law, which Jenkins and GitLab can read."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import warm
from records import ended, verdict
from test_screen import EXAMPLE, FAMILIES, run_of, verdicts_of, violated

from embcheck.core.verdict import LEDGER, Status, entry_name
from embcheck.report import junit
from embcheck.runner import session
from embcheck.runner.run import Batch
from embcheck.subject.collect import statements

#: The elements of Jenkins' schema (junit-10.xsd of its xUnit plug-in) that are written here: which children and attributes
#: each may have, and which attributes it must have.
SCHEMA: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"testsuite"}, set(), set()),
    "testsuite": (
        {"properties", "testcase"},
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        {"name", "tests", "failures", "errors"},
    ),
    "properties": ({"property"}, set(), set()),
    "property": (set(), {"name", "value"}, {"name", "value"}),
    "testcase": ({"skipped", "error", "failure"}, {"name", "classname", "time"}, {"name"}),
    **{name: (set(), {"type", "message"}, set()) for name in ("skipped", "error", "failure")},
}
COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def departures(element: ElementTree.Element) -> Iterator[str]:
    """What Jenkins' schema does not allow."""
    if element.tag not in SCHEMA:
        yield f"no element {element.tag}"
        return
    children, allowed, due = SCHEMA[element.tag]
    if not due <= set(element.keys()) <= allowed:
        yield f"{element.tag} with {sorted(element.keys())}"
    for child in element:
        if child.tag not in children:
            yield f"{child.tag} in {element.tag}"
        yield from departures(child)


def suite_of(made: session.Session, code: int = 0) -> ElementTree.Element:
    """The suite of a session that is over, as a program reads it."""
    assert list(departures(ElementTree.fromstring("<testsuites><rerun /></testsuites>"))), "the guard can fail"
    text = junit.of_session(ended(made, code))
    assert text.isascii()
    root = ElementTree.fromstring(text)
    assert list(departures(root)) == []
    (suite,) = root
    cases = suite.findall("testcase")
    assert (
        len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases) == int(suite.get("tests", ""))
    )
    for counted, tag in COUNTED.items():
        assert int(suite.get(counted, "")) == sum(child.tag == tag for case in cases for child in case)
    for case in cases:
        for found in case:  # GitLab shows the text alone
            assert found.text if found.tag == "failure" else found.text == found.get("message")
    return suite


def cases_of(suite: ElementTree.Element) -> dict[tuple[str | None, str | None], ElementTree.Element]:
    return {(case.get("classname"), case.get("name")): case for case in suite.findall("testcase")}


def facts_of(suite: ElementTree.Element) -> dict[str | None, str | None]:
    return {each.get("name"): each.get("value") for each in suite.iter("property")}


def test_every_law_of_every_family_is_one_test_case() -> None:
    in_vmap = [replace(verdict, mode="vmap") for name in FAMILIES for verdict in verdicts_of(name)]
    suite = suite_of(run_of(None, *in_vmap))
    found = [name for name in cases_of(suite) if name[0] != LEDGER]
    assert {*found} == {(name, law.name) for name, family in FAMILIES.items() for law in family.laws}


def test_known_is_skipped_with_its_entries_and_never_passes() -> None:
    suite = suite_of(made := run_of())
    cases, facts = cases_of(suite), facts_of(suite)
    assert sum(found.status == Status.KNOWN for found in made.settled) > len(FAMILIES)
    for found in made.settled:
        case = cases[found.family, entry_name(found.law)]
        if found.status == Status.KNOWN:
            entries = ", ".join(found.entries) or entry_name(found.law)
            assert [(child.tag, child.text) for child in case] == [("skipped", f"known: {entries}")]
            assert facts[f"known: {found.family}.{entry_name(found.law)}"] == entries
        else:
            assert list(case) == []
            assert f"known: {found.family}.{found.law}" not in facts
    assert facts["seed"] == "0"
    assert str(facts["machine"])


def test_what_fails_is_told_with_its_counterexample(tmp_path: Path) -> None:
    undecided = {"law": EXAMPLE.law, "family": "padding", "reasons": ("no case met: a",)}
    unknown = verdict(Status.UNKNOWN, mode="inference", **undecided)
    suite = suite_of(run_of(tmp_path, violated(), unknown, families=("padding",)), 1)
    (found,) = cases_of(suite)["padding", EXAMPLE.law]
    assert (found.tag, found.get("type"), found.get("message")) == ("failure", "violated", "-665, expected 0")
    text = str(found.text)
    for words in ("torch · vmap · cpu", EXAMPLE.case, "-665, expected 0", "embcheck replay c7f3a1", "eager obeys the"):
        assert words in text
    assert text.endswith("unknown: no case met: a (inference)")
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")
    assert str(facts_of(suite)["because"]).startswith("1 law violated")


def test_what_is_unknown_is_an_error_and_what_does_not_apply_is_skipped() -> None:
    laws = FAMILIES["padding"].laws
    undecided = {"law": laws[0].name, "family": "padding", "reasons": ("no case met: a\x1b\ufffe",)}
    told = [verdict(Status.UNKNOWN, mode=mode, **undecided) for mode in ("vmap", "compile")]
    cases = cases_of(suite_of(run_of(None, *told, families=("padding",)), 1))
    (found,) = cases["padding", laws[0].name]
    said = "no case met: a\\x1b\\ufffe (vmap, compile)"
    assert (found.tag, found.get("type"), found.text) == ("error", "unknown", said)
    made = run_of(families=())
    made.take(batch_of(Status.NOT_APPLICABLE, "no padding_idx"))
    (found,) = cases_of(suite_of(made))["padding", laws[0].name]
    assert (found.tag, found.text) == ("skipped", "no padding_idx")


def batch_of(status: Status, *reasons: str) -> Batch:
    """What an item gives that judged the first law of the padding's alone."""
    made = verdict(status, law=FAMILIES["padding"].laws[0].name, family="padding", reasons=reasons)
    return Batch("padding/torch/eager/scope/0", 1, [made], statements(FAMILIES["padding"]))


def test_a_law_that_no_item_judged_has_a_case_too() -> None:
    """It is asked in no mode that was run; where an item was lost, that is an error."""
    made = run_of(families=())
    made.take(batch_of(Status.HOLDS))
    cases = cases_of(suite_of(made))
    rest = [law.name for law in FAMILIES["padding"].laws[1:]]
    assert rest
    for name in rest:
        (found,) = cases["padding", name]
        assert (found.tag, found.text) == ("skipped", "not judged: it is asked in no mode that was run")
    lost = run_of(families=())
    lost.take(batch_of(Status.HOLDS))
    lost.account.selection = replace(lost.account.selection, items={"a::b": "padding/torch/vmap/scope/0"})
    cases = cases_of(suite_of(lost, 1))
    assert {cases["padding", name][0].tag for name in rest} == {"error"}
    assert [child.tag for child in cases["unaccounted", "padding/torch/vmap/scope/0"]] == ["error"]


def test_times_add_up_and_are_written_as_jenkins_reads_them() -> None:
    suite = suite_of(made := run_of())
    assert re.fullmatch(r"\d+\.\d{3}", suite.get("time", ""))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
    times = sum(float(case.get("time", "")) for case in suite.findall("testcase"))
    assert abs(times - sum(verdict.seconds for verdict in made.settled)) < 0.001 * len(made.settled)


def test_both_documents_of_one_run_are_valid(tmp_path: Path) -> None:
    """Ours has a case for each law; pytest's own, of --junitxml, one for each of its tests, which are items."""
    own = tmp_path / "items.xml"
    done = warm.embcheck(
        *("run", "--profile", "quick", "-k", "test_one_hot and scope", "--mode", "eager,no_grad", "--format", "junit"),
        *("--", "-n", "0", f"--junitxml={own}"),
    )
    root = ElementTree.fromstring(done.out)
    assert list(departures(root)) == []
    laws = {("one_hot", law.name) for law in FAMILIES["one_hot"].laws}
    assert set(cases_of(root[0])) == laws
    items = ElementTree.parse(own).getroot()
    names = [case.get("name", "") for case in items.iter("testcase")]
    assert len(names) == 2
    assert all(name.startswith("test_scope[") for name in names)
    assert list(items.iter("properties")) == [], "no verdicts, which workers send in a report's properties"


def test_a_run_that_did_not_finish_is_an_error() -> None:
    made = run_of()
    case = next(case for case in suite_of(made, 2).findall("testcase") if case.get("classname") == "run")
    assert [child.tag for child in case] == ["error"]
