"""A record that can't lie: what was cut off shows, and what can't be written never stops a run."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from records import EXAMPLE, verdict, written

from embcheck.core.plot_data import Curve, Figure, Histogram
from embcheck.core.verdict import Statement, Status
from embcheck.record import schema
from embcheck.record.record import FORMAT, Record, Writer, read
from embcheck.runner.run import environment

VERDICTS = [
    verdict(Status.VIOLATED, replace(EXAMPLE, words="dW[0] = √2 ≠ 1", also=("b",)), worst=0.5),
    verdict(law="other", cases=3, reasons=("x",), met=("empty",)),
]


def test_reads_what_was_written_each_line_at_once(tmp_path: Path) -> None:
    record = read(written(tmp_path / "new" / "folder", *VERDICTS, header={"seed": 7}, code=1, cases=6))
    assert record.header == {"format": FORMAT, "seed": 7}
    assert record.verdicts == VERDICTS
    assert record.footer == {"stopped": "finished", "exit_code": 1, "cases": 6}
    assert record.complete
    # Nothing waits in a buffer for an end that may never come.
    writer = Writer(tmp_path / "record")
    writer.header()
    assert read(writer.path) == Record({"format": FORMAT})
    writer.verdict(VERDICTS[0])
    assert read(writer.path).verdicts == VERDICTS[:1]
    writer = Writer(tmp_path / "figures")
    writer.header()
    writer.figure("law", FIGURE)
    writer.figure("law", Figure("Nothing", "x", "y"))
    assert read(writer.path).figures == {"law": [FIGURE, Figure("Nothing", "x", "y")]}


FIGURE = Figure(
    "Loss", "step", "loss", (Curve("tied", (0.0, 1.0), (2.0, 1.0), (1.5, 0.5), (2.5, 1.5), dashed=True),),
    Histogram("values", (0.0, 1.0, 2.0), (0.25, 0.75)), logarithmic=True,
)  # fmt: skip


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_record_of_a_former_format_is_read(tmp_path: Path, number: int) -> None:
    footer = '{"kind": "footer", "stopped": "finished", "exit_code": 0, "lost": ["a/torch/eager/scope/0"]}'
    (tmp_path / "record").write_text(f'{{"kind": "header", "format": {number}}}\n{footer}\n')
    found = read(tmp_path / "record")
    assert found.header == {"format": number}
    assert found.unaccounted == {"a/torch/eager/scope/0": "given up after repeated crashes"}
    assert not found.complete


def test_cut_anywhere_it_reads_as_a_beginning(tmp_path: Path) -> None:
    whole = written(tmp_path, *VERDICTS).read_bytes()
    first, last = whole.index(b"\n"), whole.rindex(b"\n")
    for end in range(first, last, 3):
        path = tmp_path / "cut"
        path.write_bytes(whole[:end])
        record = read(path)
        assert not record.complete
        # A line is whole from its last brace on, with or without the end of the line.
        assert record.verdicts == VERDICTS[: whole[: end + 1].count(b"\n") - 1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_noted_and_never_raises() -> None:
    writer = Writer(Path("/dev/full"))
    writer.header(seed=1)
    assert writer.broken is not None
    assert "space" in writer.broken
    reason = writer.broken
    writer.verdict(VERDICTS[0])
    writer.footer("finished", 0)
    assert writer.broken == reason, "the first reason is kept"


def test_what_is_no_json_or_comes_after_the_footer_is_noted_and_never_raises(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "record")
    writer.header(when=object())
    assert writer.broken is not None
    assert writer.path.read_text() == "", "no half line"
    writer = Writer(tmp_path / "after")
    writer.header()
    writer.footer("finished", 0)
    before = writer.path.read_text()
    writer.verdict(VERDICTS[0])
    assert writer.broken is not None
    assert writer.path.read_text() == before


def test_a_file_that_cannot_be_made_raises_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Writer(tmp_path / "file" / "record")


# -- the published schema --------------------------------------------------------------------------------------------


def check() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema.schema())
    return jsonschema.Draft202012Validator(schema.schema())


def test_what_is_published_is_what_the_code_says() -> None:
    published = schema.PUBLISHED.read_text(encoding="utf-8")
    assert published == schema.text(), "run: python -m embcheck.record.schema"
    with pytest.raises(TypeError, match="no schema for"):
        schema.schema_of_type(set[int])


def test_a_record_obeys_it(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "record.ndjson")
    writer.header(settings={"seed": "0"}, arguments=["run"], **environment())
    writer.statement(Statement("law", "family", "One is one.", link="pytorch#1"))
    writer.verdict(VERDICTS[0])
    writer.footer(
        "finished", 1, seconds=1.5, cases=3, digest="0f", laws={"violated": 1}, settled=[VERDICTS[0].to_dict()]
    )
    assert writer.broken is None
    found = [json.loads(line) for line in writer.path.read_text().splitlines()]
    assert [line["kind"] for line in found] == ["header", "law", "verdict", "footer"]
    for line in found:
        check().validate(line)
    for wrong in ({"kind": "remark"}, {"kind": "header", "format": 99}, {**found[2], "verdict": {"law": "x"}}):
        assert not check().is_valid(wrong)


def test_a_footer_that_counts_other_laws_than_there_are_is_no_whole_record(tmp_path: Path) -> None:
    assert read(written(tmp_path / "right", verdict(), laws={"holds": 1})).complete
    edited = read(written(tmp_path / "edited", verdict(), laws={"holds": 2}))
    assert edited.shortfall == "incomplete: its footer counts laws {'holds': 2}, and its verdicts {'holds': 1}"
