"""A run as JUnit's XML: one test case for each law, named by it and classed by its family, whatever the modes it was asked in.

What is known is *skipped*, with the ledger's entries, and never passes; what is unknown is an *error*.  Jenkins refuses
properties of a test case, so that those of the suite name what is known.  GitLab shows what stands inside an element, and
no ``message``: the reason is in both.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

from embcheck.core.facts import grouped
from embcheck.core.machine import Machine
from embcheck.core.typed import visible
from embcheck.core.verdict import Status, Verdict, entry_name
from embcheck.report.failure import lines

#: The XML of a run in which nothing was judged.
EMPTY = "<testsuites />"

FAILURE, ERROR, SKIPPED = "failure", "error", "skipped"
_COUNTED = {FAILURE: "failures", ERROR: "errors", SKIPPED: "skipped"}


class Told(NamedTuple):
    """A test case: which element it has, of which type, with which message and text; none if it passes."""

    classname: str
    name: str
    element: str = ""
    type: str = ""
    message: str = ""
    text: str = ""
    seconds: float = 0.0
    #: the ledger's entries that excuse it
    known: str = ""


def of_session(session: Any) -> str:
    """The XML of a run that is over, in ASCII: what it is printed to may have another encoding than it says."""
    # The items that gave no verdict, and the kept failures that are not fixed.
    others = (("unaccounted", session.unaccounted), ("kept", session.kept))
    lost = [Told(kind, name, ERROR, kind, reason) for kind, found in others for name, reason in found.items()]
    # No reader of XML looks at the exit code.
    ended = [Told("run", session.stopped, ERROR, session.stopped, session.because)] * (session.stopped != "finished")
    cases = [*ended, *_laws(session), *_unjudged(session), *lost]
    header, footer = session.record.header, session.record.footer or {}
    facts = {"name": "embcheck", "tests": str(len(cases))}
    facts |= {word: str(sum(case.element == name for case in cases)) for name, word in _COUNTED.items()}
    facts |= {"time": f"{footer.get('seconds', 0.0):.3f}", "timestamp": str(header.get("time", ""))[:19]}
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", facts)
    _properties(suite, session, cases)
    for case in cases:
        named = {"classname": case.classname, "name": _xml(case.name), "time": f"{case.seconds:.3f}"}
        made = ElementTree.SubElement(suite, "testcase", named)
        if case.element:
            found = ElementTree.SubElement(made, case.element, {"type": case.type, "message": _xml(case.message)})
            found.text = _xml(case.text or case.message)
    ElementTree.indent(suites)
    return str(ElementTree.tostring(suites, encoding="us-ascii", xml_declaration=True), "ascii")


def _xml(text: str) -> str:
    """The text without what XML has no place for."""
    return visible(text).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def _properties(suite: ElementTree.Element, session: Any, cases: Sequence[Told]) -> None:
    """What the whole suite was run on, and what of it is known."""
    header = session.record.header
    facts = {
        "machine": str(session.machine or Machine.of(header["machine"])),
        **{name: header["versions"][name] for name in ("embcheck", "torch", "hypothesis")},
        **{name: str(getattr(session.settings, name)) for name in ("profile", "seed")},
        "cases": str(session.results.cases),
        "digest": session.results.digest,
        "exit_code": str(session.code),
        "because": session.because,
        **{f"known: {case.classname}.{case.name}": case.known for case in cases if case.known},
    }
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": _xml(name), "value": _xml(value)})


def _laws(session: Any) -> Iterator[Told]:
    """Each law that was judged, and each witness of the ledger, by its worst verdict over modes and devices."""
    for (family, law), group in grouped(session.settled, lambda verdict: (verdict.family, verdict.law)).items():
        yield _told(Told(family, entry_name(law), seconds=sum(verdict.seconds for verdict in group)), group, session)


def _told(made: Told, group: Sequence[Verdict], session: Any) -> Told:
    """A test case with what came of it."""
    worst = max(verdict.status for verdict in group)
    if worst == Status.HOLDS:
        return made
    worse = [verdict for verdict in group if verdict.status == worst]
    reasons = _reasons(worse, placed=len(group) > 1)
    old = "in the baseline too; " if all(verdict.key in session.excused for verdict in worse) else ""
    made = made._replace(type=worst.word, message=old + (reasons or worst.word))
    if worst == Status.VIOLATED:
        return _violated(made, group, session, old)
    if worst == Status.KNOWN:
        entries = ", ".join(sorted({entry for verdict in worse for entry in verdict.entries})) or made.name
        made = made._replace(message=f"known: {entries}", known=entries)
    return made._replace(element=ERROR if worst == Status.UNKNOWN else SKIPPED)


def _violated(made: Told, group: Sequence[Verdict], session: Any, old: str) -> Told:
    """A violated law with its counterexamples, and what of it is unknown in other modes."""
    law = group[0].law
    examples = [each for each in session.examples if (each.family, each.law) == (made.classname, law)]
    message = next((example.words for example in examples), made.message.removeprefix(old))
    text = [line for example in examples for line in lines(example, session.store, session.record.laws)]
    undecided = [verdict for verdict in group if verdict.status == Status.UNKNOWN]
    text += [f"{Status.UNKNOWN.word}: {_reasons(undecided, placed=True)}"] if undecided else []
    return made._replace(element=FAILURE, message=old + message, text="\n".join(text))


def _reasons(verdicts: Sequence[Verdict], *, placed: bool) -> str:
    """The reasons of verdicts, each once, with the modes they are ``placed`` in."""
    modes: dict[str, list[str]] = {}
    for verdict in verdicts:
        for reason in verdict.reasons:
            modes.setdefault(reason, []).append(verdict.mode + f" on {verdict.device}" * (verdict.device != "cpu"))
    return "; ".join(f"{reason} ({', '.join(where)})" if placed else reason for reason, where in modes.items())


def _unjudged(session: Any) -> Iterator[Told]:
    """The laws of the families that ran which have no verdict: they speak of other modes, or what was to judge them ended."""
    judged = {(verdict.family, verdict.law) for verdict in session.settled}
    for law in session.record.laws.values():
        if (law.family, law.law) in judged:
            continue
        if any(item.startswith(f"{law.family}/") for item in session.unaccounted):
            yield Told(law.family, law.law, ERROR, "unaccounted", "not judged: an item of its family gave no verdict")
        else:
            yield Told(law.family, law.law, SKIPPED, "not judged", "not judged: it is asked in no mode that was run")
