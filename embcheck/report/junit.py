"""A run as JUnit's XML: one test case for each law, subject, mode and device, classed by family.

What is known is *skipped*, with the ledger's entries, and never passes; what is unknown is an *error*.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from embcheck.machine import Machine
from embcheck.report.failure import lines
from embcheck.typed import visible
from embcheck.verdict import Status, Verdict

#: The XML of a run in which nothing was judged.
EMPTY = "<testsuites />"


def of_session(session: Any) -> str:
    """The XML of a run that is over."""
    told = {Status.VIOLATED: "failures", Status.UNKNOWN: "errors", Status.KNOWN: "skipped", Status.NOT_APPLICABLE: "skipped"}
    counts = {"tests": len(session.settled), "failures": 0, "errors": 0, "skipped": 0}
    others = [("unaccounted", session.unaccounted), ("kept", session.kept)]
    for _, reasons in others:
        counts["tests"] += len(reasons)
        counts["errors"] += len(reasons)
    for verdict in session.settled:
        if verdict.status in told:
            counts[told[verdict.status]] += 1
    numbers = {name: str(number) for name, number in counts.items()}
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "embcheck", **numbers})
    _properties(suite, session)
    for verdict in session.settled:
        _case(suite, verdict, session)
    for classname, reasons in others:
        for name, reason in reasons.items():
            case = ElementTree.SubElement(suite, "testcase", {"classname": classname, "name": _xml(name)})
            ElementTree.SubElement(case, "error", {"message": _xml(reason)})
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=False)


def _xml(text: str) -> str:
    """The text without what XML has no place for."""
    return visible(text).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def _properties(suite: ElementTree.Element, session: Any) -> None:
    """What the whole suite was run on: properties of single cases would be refused by the schema xunit2."""
    header = session.record.header
    facts = {
        "machine": str(session.machine or Machine.of(header["machine"])),
        **{name: header["versions"][name] for name in ("embcheck", "torch", "hypothesis")},
        **{name: str(getattr(session.settings, name)) for name in ("profile", "seed")},
        "cases": str(session.results.cases),
        "digest": session.results.digest,
        "exit_code": str(session.code),
        "because": session.because,
    }
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _xml(value)})


def _case(suite: ElementTree.Element, verdict: Verdict, session: Any) -> None:
    told = ((verdict.subject, "torch"), (verdict.mode, "eager"), (verdict.device, "cpu"))
    others = [word for word, plain in told if word != plain]
    name = verdict.law + (f"[{', '.join(others)}]" if others else "")
    facts = {"classname": verdict.family, "name": _xml(name), "time": f"{verdict.seconds:.3f}"}
    made = ElementTree.SubElement(suite, "testcase", facts)
    reasons = "; ".join(verdict.reasons)
    old = "in the baseline too; " if verdict.key in session.excused else ""
    match verdict.status:
        case Status.VIOLATED:
            message = next((example.words for example in verdict.counterexamples), reasons)
            found = ElementTree.SubElement(made, "failure", {"message": _xml(old + message)})
            text = [line for each in verdict.counterexamples for line in lines(each, session.store, session.record.laws)]
            found.text = _xml("\n".join(text) or reasons)
        case Status.UNKNOWN:
            ElementTree.SubElement(made, "error", {"message": _xml(old + reasons)})
        case Status.KNOWN:
            entries = ", ".join(sorted(verdict.entries)) or verdict.law
            ElementTree.SubElement(made, "skipped", {"message": _xml(f"known: {entries}")})
        case Status.NOT_APPLICABLE:
            ElementTree.SubElement(made, "skipped", {"message": _xml(reasons or "not applicable")})
