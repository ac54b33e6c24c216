"""Whatever a file of a record, a baseline or a kept failure holds: one line that says what is wrong with it, and exit 4."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command import Command
from records import EXAMPLE, VIOLATED, written

from embcheck.core.plot_data import Figure
from embcheck.core.typed import visible
from embcheck.core.verdict import Statement
from embcheck.record.record import FORMAT, RecordError, read
from embcheck.record.store import keep
from embcheck.runner.opening import baseline_of
from embcheck.runner.run import Settings
from embcheck.runner.session import Session

VERDICT = replace(VIOLATED, digest="0f")
HEADER: dict[str, Any] = {"kind": "header", "format": FORMAT, "settings": {"seed": "0"}, "versions": {"torch": "2.13"}}
LAW: dict[str, Any] = {"kind": "law", "law": asdict(Statement("law", "family", "One is one."))}
FIGURE: dict[str, Any] = {"kind": "figure", "law": "law", "figure": asdict(Figure("t", "x", "y"))}
FOOTER: dict[str, Any] = {"kind": "footer", "stopped": "finished", "exit_code": 1, "cases": 1, "digest": "0f"}


def file_of(*lines: Any) -> bytes:
    return "\n".join(json.dumps(line) for line in (*lines, "")).encode()


def verdict(**changes: Any) -> dict[str, Any]:
    return {"kind": "verdict", "verdict": {**VERDICT.to_dict(), **changes}}


def drawn(*curves: Any, histogram: Any = None) -> dict[str, Any]:
    return {**FIGURE, "figure": {**FIGURE["figure"], "curves": list(curves), "histogram": histogram}}


CURVE = {"name": "c", "x": [0.0, 1.0], "y": [0.0, 1.0], "low": [], "high": [], "dashed": False}
#: A line of each kind in which every field has a value.
FULL: list[dict[str, Any]] = [
    {**HEADER, "arguments": ["run"], "time": "2026", "machine": {"cpu": "x", "isa": ["avx2"]}},
    LAW,
    verdict(entries={"a": 1}, worst=0.5, reasons=["r"], must_cover=["m"], met=["m"], known=1),
    drawn(CURVE, histogram={"name": "h", "edges": [0.0, 1.0], "heights": [1.0]}),
    {**FOOTER, "seconds": 1.5, "unaccounted": {"item": "why"}, "families": {"padding": [1, 2]}, "laws": {"holds": 1}}
    | {"lost": ["item"], "settled": [VERDICT.to_dict()]},
]
#: Of another type than what stands there.
OTHER: dict[type, Any] = {str: 3, int: "x", float: "x", bool: "x", list: {}, dict: []}


def places(value: Any) -> Iterator[tuple[str | int, ...]]:
    """Where something stands in a line, but for what says which kind of line it is."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        if name not in ("kind", "format", "status") and each is not None:
            yield from ((name, *place) for place in ((), *places(each)))


def spoilt(line: Any, place: tuple[str | int, ...]) -> Any:
    """A copy of a line with something of another type in one place."""
    copy = json.loads(json.dumps(line))
    held = copy
    for each in place[:-1]:
        held = held[each]
    held[place[-1]] = OTHER[type(held[place[-1]])]
    return copy


EACH = [(number, place) for number, line in enumerate(FULL) for place in places(line)]
#: Lines that are wrong in another way, in the place of the header or after it.
HEADERS: list[tuple[Any, str]] = [
    *(([], "expected an object"), (None, "expected an object"), (FOOTER, "expected a header of format")),
    *(({**HEADER, "format": wrong}, "expected a header of format") for wrong in (None, True, 0)),
    ({**HEADER, "format": FORMAT + 1}, f"has format {FORMAT + 1}; this embcheck reads 1 to {FORMAT}: a newer one"),
]
LINES: list[tuple[Any, str]] = [
    *((None, "expected an object"), ("text", "expected an object"), ({"kind": ["verdict"]}, "unknown kind")),
    *(({"a": 1}, "unknown kind None"), (HEADER, "unknown kind 'header'"), ({"kind": "footer"}, "exit_code is missing")),
    ({"kind": "verdict", "verdict": {}}, "law is missing"),
    *((verdict(status=wrong), f"no status {wrong!r}") for wrong in ("wins", 4)),
    *((verdict(cases=wrong), "cases: expected an integer") for wrong in (True, 1.5)),
    (verdict(cases=-1), "cases: expected a count, got -1"),
    (verdict(worst=-7.0), "worst: expected a ratio"),
    *((verdict(worst=float(wrong)), "worst: expected a finite number") for wrong in ("nan", "inf")),
    (verdict(digest="xyz"), "digest: expected hexadecimal digits"),
    (verdict(colour="red"), "there is no field colour"),
    ({"kind": "law", "law": {"law": "x"}}, "family is missing"),
    (drawn({**CURVE, "y": [1.0]}), "a curve through 2 points has 1"),
    (drawn({**CURVE, "low": [0.0, 0.0]}), "a curve through 2 points"),
    (drawn(histogram={"name": "h", "edges": [0.0], "heights": [1.0]}), "a histogram of 1 bars has 1 edges"),
    ({**FOOTER, "families": {"padding": [1]}}, "families: padding: expected a list of 2"),
    ({**FOOTER, "settled": [verdict(digest="xyz")["verdict"]]}, "digest: expected hexadecimal digits"),
]
#: Whole files.
FILES: list[tuple[bytes, str]] = [
    (b"", "empty; expected a header"),
    (b"\xff\xfe" + json.dumps(HEADER).encode("utf-16-le"), "not UTF-8"),
    (json.dumps(HEADER).encode() + b"\n\xe9\n", "not UTF-8"),
    (b"[" * 100_000 + b"\n\n", "line 1: not JSON"),
    (json.dumps(HEADER).encode() + b"\n" + b"9" * 5000 + b"\n\n", "line 2: not JSON"),
    (b'{"kind": "header"\n' + json.dumps(HEADER).encode() + b"\n", "line 1: not JSON"),
    (b"PK\x03\x04\n", "line 1: not JSON"),
    (b"hello, no record", "line 1: not JSON"),
    (file_of(HEADER, FOOTER, verdict()), "a verdict after the footer"),
    (file_of(HEADER, FOOTER, FOOTER), "a footer after the footer"),
]
MALFORMED = [
    *(
        (file_of(*(HEADER,)[:number], spoilt(FULL[number], place)), f", line {2 if number else 1}: ", "expected")
        for number, place in EACH
    ),
    *((file_of(first, LAW, verdict(), FIGURE, FOOTER), ", line 1: ", said) for first, said in HEADERS),
    *((file_of(HEADER, line, FOOTER), ", line 2: ", said) for line, said in LINES),
    *((content, "", said) for content, said in FILES),
]


@pytest.mark.parametrize(
    ("content", "place", "said"), MALFORMED, ids=[*map(str, EACH), *(said for *_, said in MALFORMED[len(EACH) :])]
)
def test_it_is_refused_with_one_line_that_names_the_place(
    content: bytes, place: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "record.ndjson").write_bytes(content)
    with pytest.raises(RecordError) as refused:
        read(tmp_path)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'record.ndjson'}{place}")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "content", [MALFORMED[len(EACH)][0], MALFORMED[len(EACH) + len(HEADERS)][0], FILES[1][0], FILES[-1][0]]
)
def test_every_reader_refuses_it(content: bytes, tmp_path: Path, command: Command) -> None:
    (tmp_path / "record.ndjson").write_bytes(content)
    good = written(tmp_path / "good")
    made = (("report", tmp_path, "-o", tmp_path / "page.html"), ("merge", tmp_path, "-o", tmp_path / "merged"))
    for words in (*made, ("diff", good, tmp_path), ("diff", tmp_path, good)):
        told = command(*words, ends=4).err
        assert (told.count("\n"), "record.ndjson" in told) == (1, True), told
    assert not (tmp_path / "page.html").exists()
    # `run --baseline` and `pytest --embcheck-baseline`.
    for baseline, said in ((tmp_path, r"the baseline is no record: .*record\."), (tmp_path / "none", "can't read the")):
        with pytest.raises(pytest.UsageError, match=said):
            Session(SimpleNamespace(), Settings(baseline=baseline))  # type: ignore[arg-type]


def test_whatever_is_well_formed_is_read(tmp_path: Path, command: Command) -> None:
    """The lines that are broken above are right as they are; with little in them, and with more than is known."""
    header = FULL[0] | {"machine": {**FULL[0]["machine"], "quantum": 1}, "weather": ["fine"]}
    lines = [header, LAW, verdict(), FULL[3], {**FOOTER, "more": {"a": None}}]
    for name, some, code in (("whole", lines, 0), ("short", [{"kind": "header", "format": 1}, verdict()], 1)):
        (tmp_path / name).write_text("\n".join(map(json.dumps, some)) + "\n")
        assert read(tmp_path / name).settled() == [VERDICT]
        said = command("report", tmp_path / name, "-o", tmp_path / "page.html", ends=code).err
        assert "incomplete" in said if code else said == ""
        notes: list[str] = []
        assert baseline_of(Settings(baseline=tmp_path / name), notes) is not None
        assert [note.partition(":")[0] for note in notes][:1] == ["the baseline is incomplete"] * code
    command("diff", tmp_path / "whole", tmp_path / "whole")


FAILURE = {"id": "c7f3a1", **dict.fromkeys(("law", "family", "subject", "mode", "device", "case", "kind"), "x")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no record of a failure"),
        (b"{", "no record of a failure"),
        (b"\xff", "no record of a failure"),
        (b"[" * 100_000, "no record of a failure"),
        (b"[]", "expected an object"),
        (b"null", "expected an object"),
        (b'{"id": "c7f3a1"}', "case is missing"),
        (json.dumps({**FAILURE, "law": 3}).encode(), "law: expected text"),
        (json.dumps({**FAILURE, "family": None}).encode(), "family: expected text"),
        (json.dumps({**FAILURE, "source": "x"}).encode(), "source: expected an object"),
        (json.dumps({**FAILURE, "machine": {"isa": 3}}).encode(), "isa: expected a list"),
        (json.dumps({**FAILURE, "id": "000000"}).encode(), "the record of another failure"),
    ],
)
def test_a_kept_failure_that_is_none_is_refused(content: bytes, said: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / "c7f3a1.json").write_bytes(content)
    told = command("replay", "c7f3a1", "--store", tmp_path, ends=4).err
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("failure", ["../secret", "..", "/etc/passwd", "C7F3A1", "c7f3a1.json", "c7f3a1\n", "", "é"])
@pytest.mark.parametrize("more", [(), ("--script",)])
def test_an_id_is_digits_and_no_path(failure: str, more: tuple[str, ...], tmp_path: Path, command: Command) -> None:
    (tmp_path / "secret.json").write_text(json.dumps({**FAILURE, "id": "../secret"}))
    (tmp_path / "secret.py").write_text("hidden")
    (tmp_path / "store").mkdir()
    done = command("replay", failure, "--store", tmp_path / "store", *more, ends=4)
    assert "an id is hexadecimal digits" in done.err


@pytest.mark.parametrize("ending", [".json", ".py"])
def test_a_link_out_of_the_store_is_not_followed(ending: str, tmp_path: Path, command: Command) -> None:
    store = tmp_path / "store"
    keep(EXAMPLE, store)
    (store / f"c7f3a1{ending}").rename(tmp_path / "elsewhere")
    (store / f"c7f3a1{ending}").symlink_to(tmp_path / "elsewhere")
    assert "leads out of its store" in command("replay", "c7f3a1", "--store", store, "--script", ends=4).err


#: What a terminal obeys, or can't print.
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800]")


def test_what_a_record_says_never_reaches_the_terminal_as_a_command(tmp_path: Path, command: Command) -> None:
    hostile = "\x1b[2J\x9b31m\r\x07\u202e\ud800"
    changes = {"words": hostile, "case": hostile, "mode": hostile}
    broken = verdict(law=f"law{hostile}", reasons=[hostile], counterexamples=[{**asdict(EXAMPLE), **changes}])
    header = {**HEADER, "settings": {"seed": hostile}, "versions": {"torch": hostile}, "source": hostile}
    (tmp_path / "record.ndjson").write_text(
        "\n".join(map(json.dumps, (header, broken, {**FOOTER, "stopped": hostile})))
    )
    (tmp_path / "empty").write_text('{"kind": "header", "format": 3}\n')
    (tmp_path / "c7f3a1.json").write_text(json.dumps({**FAILURE, "law": hostile, "case": hostile, "subject": "torch"}))
    for words in (
        ("diff", tmp_path / "empty", tmp_path / "record.ndjson"),
        ("report", tmp_path, "-o", tmp_path / "page.html"),
        ("merge", tmp_path, "-o", tmp_path / "merged"),
        ("replay", "c7f3a1", "--store", tmp_path),
    ):
        assert not STEERING.search(command(*words, ends=None).told), words
    assert not STEERING.search((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert visible(hostile) == r"\x1b[2J\x9b31m\r\x07\u202e\ud800"
    assert visible("√ é\n\t中") == "√ é\n\t中"
