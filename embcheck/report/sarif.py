"""A run as SARIF 2.1.0, which code scanning reads: a rule for each law, and a result for each violation.

A result lies where its law stands; of a user's layer it lies at the layer, and the law beside it.  Nothing that is known is a
result; what is unknown, and what gave no verdict, is a notification of the tool.
"""

import ast
import re
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath
from typing import Any

from embcheck.core.declaration import SubjectError, configured
from embcheck.core.tiers import CORE
from embcheck.core.verdict import Counterexample, Statement, Status
from embcheck.report.failure import lines
from embcheck.subject.collect import files_of_laws, properties_folder

VERSION = "2.1.0"
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
#: Results that code scanning takes of one run; the record has all.
MOST = 25_000
_DEFINED = re.compile(r'^def (\w+)\(|^\w+ = Family\(\s*"(\w+)"', re.MULTILINE)

Place = tuple[str, int]
_NAME = {"name": "embcheck"}


def of_session(session: Any) -> dict[str, Any]:
    """The document of a run that is over."""
    laws: dict[str, Statement] = session.record.laws
    places, numbers = places_of_laws(), {name: number for number, name in enumerate(laws)}
    names = {example.subject for example in session.examples}
    subjects = {name: place_of_subject(name, Path.cwd()) for name in names}
    results = []
    for example in session.examples[:MOST]:
        beside, own = place_of(example, places), subjects[example.subject]
        made = _result(example, own or beside, session)
        if example.law in numbers:
            made["ruleIndex"] = numbers[example.law]
        if own is not None:
            made["relatedLocations"] = [{**_location(beside), "message": {"text": "the law"}}]
        results.append(made)
    version = session.record.header["versions"]["embcheck"]
    run = {
        "tool": {"driver": {**_NAME, "version": version, "rules": [_rule(law) for law in laws.values()]}},
        "automationDetails": {"id": f"embcheck/{session.settings.subject or 'torch'}/{session.settings.profile}"},
        "invocations": [_invocation(session)],
        "results": results,
        "properties": {"machine": session.record.header["machine"], "settings": session.record.header["settings"]},
    }
    return _document(run)


def of_nothing(code: int, because: str) -> dict[str, Any]:
    """The document of a run in which nothing was judged."""
    ended = {"executionSuccessful": False, "exitCode": code, "exitCodeDescription": because}
    return _document({"tool": {"driver": _NAME}, "invocations": [ended], "results": []})


def _document(run: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def _rule(law: Statement) -> dict[str, Any]:
    source = " ".join(text for text in (law.source, law.link) if text)
    told = f"{law.sentence}\n\nsource: {source}" if source else law.sentence
    return {
        "id": law.law,
        "name": law.law,
        "shortDescription": {"text": _text(law.sentence)},
        "help": {"text": _text(told)},
        "defaultConfiguration": {"level": "error"},
        "properties": {"family": law.family, "tags": ["core" if law.family in CORE else "extended", law.family]},
    }


def _result(example: Counterexample, place: Place, session: Any) -> dict[str, Any]:
    law = session.record.laws.get(example.law)
    sentence = f"{law.sentence} " if law is not None else ""
    told = {
        "ruleId": example.law,
        "level": "error",
        "message": {"text": _text(f"{sentence}Got {example.words} on {example.case}.")},
        "locations": [_location(place)],
        "partialFingerprints": {"embcheck/v1": f"{example.id}:{example.kind}"},
        "properties": {
            "family": example.family,
            "subject": example.subject,
            "modes": [example.mode, *example.other_modes],
            "device": example.device,
            "case": example.case,
            "kind": example.kind,
            "report": "\n".join(lines(example, session.store, session.record.laws)),
        },
    }
    if session.baseline is not None:
        told["baselineState"] = "unchanged" if example.in_baseline else "new"
    return told


def _invocation(session: Any) -> dict[str, Any]:
    undecided = [each for each in session.settled if each.status >= Status.UNKNOWN and not each.counterexamples]
    levels = {Status.VIOLATED: "error", Status.UNKNOWN: "warning"}
    notes = [_notification(f"{each.law}: {'; '.join(each.reasons)}", levels[each.status]) for each in undecided]
    notes += [_notification(f"no verdict from {item}: {why}", "error") for item, why in session.unaccounted.items()]
    notes += [_notification(f"kept {failure}: {words}", "error") for failure, words in session.kept.items()]
    notes += [_notification(note, "note") for note in session.results.notes]
    return {
        "executionSuccessful": session.stopped == "finished",
        "exitCode": session.code,
        "exitCodeDescription": session.because,
        "toolExecutionNotifications": notes,
    }


def _notification(text: str, level: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": _text(text)}}


def _text(text: str) -> str:
    """A message in which nothing is a link: those are what brackets are for, before a parenthesis."""
    return text.replace("](", "] (")


def _location(place: Place) -> dict[str, Any]:
    path, line = place
    return {"physicalLocation": {"artifactLocation": {"uri": path}, "region": {"startLine": line}}}


def place_of(example: Counterexample, places: dict[str, Place]) -> Place:
    """Where the law or, if it is not found, its family is written; else the folder of the laws."""
    return places.get(example.law) or places.get(f"family {example.family}") or ("properties", 1)


def places_of_laws() -> dict[str, Place]:
    """Where each law stands that is a function of its own, and each family: a path from the root of a checkout, and a line.

    A law that is generated, such as that a lookup is accepted, has the place of its family.
    """
    found: dict[str, Place] = {}
    for file in files_of_laws():
        text = file.read_text(encoding="utf-8")
        path = str(PurePosixPath("properties", *file.relative_to(properties_folder()).parts))
        found.setdefault(f"family {file.stem.removeprefix('test_')}", (path, 1))
        for match in _DEFINED.finditer(text):
            law, family = match.groups()
            found[law or f"family {family}"] = (path, text.count("\n", 0, match.start()) + 1)
    return found


def place_of_subject(name: str, folder: Path) -> Place | None:
    """The file of a user's layer, as a path from a folder, and the line of its class or function.

    None for torch itself, and for what lies elsewhere or is made in a way that shows no definition.
    """
    try:
        module, _, qualified = configured(folder).get(name, name).partition(":")
    except SubjectError:
        return None
    *packages, last = module.split(".")
    spec = PathFinder.find_spec(last, [str(folder.joinpath(*packages))]) if qualified else None
    if spec is None or spec.origin is None or not Path(spec.origin).is_relative_to(folder):
        return None
    body: list[ast.stmt] = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    line = 1
    for part in qualified.split("."):
        kinds = (ast.ClassDef, ast.FunctionDef)
        node = next((each for each in body if isinstance(each, kinds) and each.name == part), None)
        if node is None:
            break
        line, body = node.lineno, node.body
    return PurePosixPath(Path(spec.origin).relative_to(folder)).as_posix(), line
