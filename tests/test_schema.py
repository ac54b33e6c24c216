"""The published schema of a record is the one that its writer obeys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from embcheck.core.verdict import Counterexample, Statement, Status, Verdict
from embcheck.record import schema
from embcheck.record.record import Writer
from embcheck.runner.run import environment

EXAMPLE = Counterexample("law", "family", "torch", "eager", "cpu", "LookupCase()", "value", "dW[0] = 2", also=("b",))
VERDICT = Verdict("law", "family", "torch", "eager", "scope", Status.VIOLATED, worst=0.5, counterexamples=(EXAMPLE,))


def check() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema.schema())
    return jsonschema.Draft202012Validator(schema.schema())


def lines(path: Path) -> Iterator[Any]:
    yield from (json.loads(line) for line in path.read_text().splitlines())


def test_what_is_published_is_what_the_code_says() -> None:
    published = schema.PUBLISHED.read_text(encoding="utf-8")
    assert published == schema.text(), "run: python -m embcheck.record.schema"


def test_a_record_obeys_it(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "record.ndjson")
    writer.header(settings={"seed": "0"}, arguments=["run"], **environment())
    writer.statement(Statement("law", "family", "One is one.", link="pytorch#1"))
    writer.verdict(VERDICT)
    writer.footer("finished", 1, seconds=1.5, cases=3, digest="0f", laws={"violated": 1}, settled=[VERDICT.to_dict()])
    assert writer.broken is None
    found = list(lines(writer.path))
    assert [line["kind"] for line in found] == ["header", "law", "verdict", "footer"]
    for line in found:
        check().validate(line)


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"kind": "remark"},
        {"kind": "header", "format": 99},
        {"kind": "footer", "exit_code": 0},
        {"kind": "law", "law": {"law": "x"}},
        {"kind": "verdict", "verdict": {**VERDICT.to_dict(), "status": "wins"}},
        {"kind": "verdict", "verdict": {**VERDICT.to_dict(), "colour": "red"}},
        {"kind": "verdict", "verdict": {**VERDICT.to_dict(), "counterexamples": [{**asdict(EXAMPLE), "case": 3}]}},
    ],
)
def test_what_is_no_line_is_refused(line: dict[str, Any]) -> None:
    assert not check().is_valid(line)


def test_a_type_without_a_schema_is_an_error() -> None:
    with pytest.raises(TypeError, match="no schema for"):
        schema.schema_of_type(set[int])
