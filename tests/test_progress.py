"""What a run prints on the way, and the documents that it prints instead of a summary."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from xml.etree import ElementTree

import pytest
from command import Patch
from records import ended, session_of
from test_screen import EXAMPLE, FAMILIES, run_of, verdicts_of, violated

from embcheck.audit.session import Audit
from embcheck.cli.audit import followed
from embcheck.core.options import DOCUMENTS
from embcheck.core.tiers import CORE
from embcheck.core.verdict import Status
from embcheck.engine.crashes.slot import Watch
from embcheck.record.record import read
from embcheck.report import document, style
from embcheck.report.progress import Progress

# -- on the way ------------------------------------------------------------------------------------------------


ITEM: Any = SimpleNamespace(user_properties=[], when="call", failed=False, nodeid="a/test_b.py::test_c")


@pytest.fixture
def clock(monkeypatch: Patch) -> list[float]:
    """What the time is."""
    now = [0.0]
    monkeypatch.setattr(style, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.parametrize(("seconds_each", "most"), [(0.5, 10), (0.05, 2), (5.0, 90)])
def test_progress_is_a_line_for_a_tenth_or_half_a_minute_and_none_within_ten_seconds(
    seconds_each: float, most: int, clock: list[float], monkeypatch: Patch
) -> None:
    follower = Progress()
    said: list[float] = []
    monkeypatch.setattr(follower.out, "print", lambda *words: said.append(clock[0]))
    follower.total = 540
    for _ in range(follower.total):
        clock[0] += seconds_each
        follower.pytest_runtest_logreport(ITEM)
    assert 1 < len(said) <= most
    gaps = [later - earlier for earlier, later in zip([0.0, *said], said, strict=False)]
    assert min(gaps) >= 10
    assert max(gaps) <= 30


def test_a_line_is_due_while_no_item_ends_and_names_what_runs(
    clock: list[float], monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Watch, "start", lambda watch: None)
    follower, run = Progress(), session_of()
    run.pytest_configure_node(SimpleNamespace(workerinput={}))
    assert run.watch is not None
    assert run.watch.meanwhile is not None
    manager = SimpleNamespace(get_plugin=lambda name: run)
    follower.pytest_sessionstart(SimpleNamespace(config=SimpleNamespace(pluginmanager=manager)))  # type: ignore[arg-type]
    capsys.readouterr()
    for when, total in ((29.0, 0), (31.0, 0), (62.0, 540)):
        clock[0], follower.total = when, total
        run.watch.meanwhile()
        for name in "cdefg":
            follower.pytest_runtest_logstart(f"a/test_b.py::test_{name}[eager-0]")
        follower.pytest_runtest_logfinish("a/test_b.py::test_c[eager-0]")
    told = ["workers collect the items, 31 s", "0/540 items, 0 failed, 62 s"]
    running = "; running: b d[eager-0], b e[eager-0], b f[eager-0], b g[eager-0]"
    assert capsys.readouterr().out.splitlines() == [line + running for line in told]


def test_a_closed_output_interrupts_the_main_thread_alone(monkeypatch: Patch, clock: list[float]) -> None:
    follower = Progress()
    monkeypatch.setattr(follower.out, "print", Mock(side_effect=[SystemExit(1)]))
    clock[0] = 31.0
    follower._tell_meanwhile()
    clock[0] = 62.0
    with pytest.raises(KeyboardInterrupt):
        follower.pytest_runtest_logreport(ITEM)
    assert follower.closed


def test_an_audit_of_many_models_has_the_same_lines(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    def audits() -> Iterator[Audit]:
        for _ in range(100):
            clock[0] += 8.0
            yield Audit("a:model", ())

    assert len(list(followed(audits(), 100, style.console(), shown=True))) == 100
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["4/100 models, 0 findings", "8/100 models, 0 findings"]


# -- as one document -------------------------------------------------------------------------------------------


def test_the_json_document_has_the_footer_s_numbers_and_the_failures(tmp_path: Path) -> None:
    dark = replace(verdicts_of("padding")[0], status=Status.UNKNOWN, reasons=("no case met: a",))
    made = ended(run_of(tmp_path, violated(), dark), 1)
    told = json.loads(document.text(document.of_session(made)))
    footer = read(tmp_path).footer
    assert footer is not None
    for name in ("exit_code", "stopped", "seconds", "cases", "digest", "laws", "witnesses", "unaccounted"):
        assert told[name] == footer[name], name
    assert told["because"].startswith("1 law violated")
    assert set(told["families"]) == set(FAMILIES)
    assert {name for name, family in told["families"].items() if family["tier"] == "core"} == set(CORE)
    assert told["families"]["padding"]["known"] == ["entry of padding"]
    (failure,) = told["failures"]
    assert (failure["id"], failure["name"], failure["modes"]) == ("c7f3a1", EXAMPLE.law, ["vmap"])
    assert (failure["case"], failure["got"]) == ("LookupCase(sparse=True)", "-665, expected 0")
    assert {"law", "source", "wrong", "known?", "replay", "script"} <= failure.keys()
    assert told["undecided"] == [
        {"name": dark.law, "family": "padding", "mode": "eager", "status": "unknown", "reasons": ["no case met: a"]}
    ]
    assert told["record"] == str(tmp_path / "record.ndjson")


@pytest.mark.parametrize("form", DOCUMENTS)
def test_a_document_is_all_that_is_printed(form: str, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    made = run_of()
    config: Any = SimpleNamespace(
        pluginmanager=SimpleNamespace(get_plugin=lambda name: made), option=SimpleNamespace(collectonly=False)
    )
    follower = Progress(form=form, verbosity=2)
    follower.pytest_sessionstart(SimpleNamespace(config=config))  # type: ignore[arg-type]
    ended(made)
    follower.pytest_unconfigure(config)
    made.pytest_unconfigure()
    told = capsys.readouterr().out
    assert json.loads(told) if form != "junit" else ElementTree.fromstring(told).tag == "testsuites"


@pytest.mark.parametrize(("form", "annotations"), [("text", False), ("github", True)])
def test_github_annotations_can_be_asked_for(form: str, annotations: bool, capsys: pytest.CaptureFixture[str]) -> None:
    made = run_of(None, violated())
    config: Any = SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=lambda name: made))
    Progress(form=form).pytest_sessionstart(SimpleNamespace(config=config))  # type: ignore[arg-type]
    ended(made, 1)
    made.pytest_unconfigure()
    assert ("::error title=violated%3A padding_row" in capsys.readouterr().out) is annotations


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("form", ["text", "json"])
def test_interrupted_before_a_session_is_no_empty_selection(
    form: str, there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    found = session_of() if there else None
    config: Any = SimpleNamespace(
        pluginmanager=SimpleNamespace(get_plugin=lambda name: found),
        option=SimpleNamespace(collectonly=False, keyword="padding"),
    )
    follower = Progress(form=form)
    follower.pytest_keyboard_interrupt()
    follower.pytest_unconfigure(config)
    told = capsys.readouterr().out
    if form == "text":
        assert told == "exit code 2: interrupted\n"
    else:
        assert json.loads(told) == {"exit_code": 2, "because": "interrupted"}


def test_a_document_of_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(form="json").print_document(None)
    assert json.loads(capsys.readouterr().out) == {"exit_code": 5, "because": "nothing was selected"}
    Progress(form="junit").print_document(None)
    assert list(ElementTree.fromstring(capsys.readouterr().out)) == []
