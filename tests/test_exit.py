"""Exit codes are those that are documented, whatever happens: to the output, to the command, to its user's patience."""

import io
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from command import Command, Patch
from records import EXAMPLE, VIOLATED, ended, session_of, verdict, written
from warm import embcheck, python

from embcheck.core.processes import termination_interrupts
from embcheck.core.verdict import Counterexample, Status, Verdict
from embcheck.record.record import Writer, read
from embcheck.record.store import recorded, store_of
from embcheck.report.failure import idle
from embcheck.runner import opening, session
from embcheck.runner.run import Batch


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ZeroDivisionError("division by zero"), 3, "internal error: ZeroDivisionError: division by zero"),
        (RecursionError("too deep"), 3, "internal error: RecursionError: too deep"),
        (KeyboardInterrupt(), 2, "interrupted"),
    ],
)
def test_an_error_of_its_own_is_3_and_never_1(
    error: BaseException, code: int, said: str, monkeypatch: Patch, command: Command
) -> None:
    monkeypatch.setattr("embcheck.cli.diff.record_at", Mock(side_effect=error))
    monkeypatch.setattr("os.dup2", lambda *descriptors: None)
    assert said in command("diff", "a", "b", ends=code).err.splitlines()[-1]


def test_to_be_terminated_is_to_be_interrupted_once(monkeypatch: Patch, command: Command) -> None:
    def terminated(path: Path) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # while the end is written

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("embcheck.cli.diff.record_at", terminated)
    assert "interrupted" in command("diff", "a", "b", ends=2).err
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_fork_dies_of_what_interrupts_the_process_that_made_it() -> None:
    with termination_interrupts():
        fork = os.fork()
        if fork == 0:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == -signal.SIGTERM


def test_an_output_without_mathematical_signs(monkeypatch: Patch, command: Command) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    command("laws")
    assert rb"\u201c" in written.getvalue()


#: Commands that print, a session of pytest and another.
WRITING = (("laws",), ("run", "--profile", "quick", "-k", "no_such", "--", "-n", "0"))


@pytest.mark.parametrize("words", WRITING)
def test_an_output_that_is_closed_ends_a_command_in_silence(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    closed = python("-m", "embcheck", *words, stdout=writing)
    os.close(writing)
    assert (closed.returncode, closed.stderr) == (141, "")


def test_the_documented_example_of_a_closed_output_prints_more_than_a_pipe_holds(command: Command) -> None:
    """Else it has ended before anybody closes the pipe, with 0."""
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^\| 141 \| .*`embcheck (\w+) \\\| head -1`", readme, re.MULTILINE)
    assert len(command(example).out.encode()) > 2**16


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", WRITING)
def test_an_output_that_is_full_gets_one_line(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = python("-m", "embcheck", *words, stdout=full.fileno())
    assert done.returncode == 3
    assert done.stderr == "embcheck: can't write what it prints: No space left on device\n"


def test_a_second_run_into_one_folder_is_refused_and_leaves_the_record_alone(tmp_path: Path, command: Command) -> None:
    first = Writer(tmp_path / "record.ndjson")
    first.header()
    first.verdict(VIOLATED)
    before = first.path.read_bytes()
    done = embcheck("run", "--profile", "quick", "-k", "no_such", "--report", tmp_path, ends=4)
    assert "another run writes there now; name another folder" in done.told
    command("merge", tmp_path, "-o", first.path, ends=4)
    claimed = command("claims", "-k", "linear.joined", "--report", tmp_path, ends=4)
    assert "another run writes there now" in claimed.err
    assert first.path.read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_merged_record_that_is_cut_off_is_no_success(tmp_path: Path, command: Command) -> None:
    whole = written(tmp_path, cases=0, digest="")
    (tmp_path / "merged").symlink_to("/dev/full")
    command("merge", whole, "-o", tmp_path / "merged", ends=3)


def test_a_session_without_laws_writes_no_record(tmp_path: Path) -> None:
    """It would be read as one in which all is well; what was there stays."""
    for before in ("", "a record\n"):
        path = tmp_path / "record.ndjson"
        path.write_text(before)
        made = ended(session_of(report=tmp_path))
        made.pytest_unconfigure()
        assert (path.read_text() if path.exists() else "") == before
        assert path.exists() is bool(before)
        assert made.foreign
    assert not ended(session_of(), code=pytest.ExitCode.NO_TESTS_COLLECTED).foreign


@pytest.mark.parametrize(
    ("digest", "why"),
    [("0f", "no case that was run is one that it speaks of"), ("0" * 16, "the profile has no such cases in this mode")],
)
def test_a_run_in_which_no_law_was_judged_is_no_success(digest: str, why: str) -> None:
    """Whoever selects an engine that a mode has no case of would be told that all is well."""
    made = session_of()
    unasked = Verdict("lookup_copies_rows", "lookup", "torch", "export", "scope", Status.NOT_APPLICABLE, digest=digest)
    made.take(Batch("lookup/torch/export/scope/0", 1, [unasked]))
    assert (ended(made).code, made.because) == (5, f"no law was judged; not applicable: {why}")
    made.take(Batch("lookup/torch/export/product/0", 1, [replace(unasked, status=Status.HOLDS, cases=1)]))
    assert ended(made).code == 0


@pytest.mark.parametrize(
    ("shard", "verdicts", "why"),
    [
        ("1/1", (VIOLATED,), "1 law violated (law)"),
        ("1/2", (VIOLATED,), "1 law violated (law), the run did not finish (no shard 2/2)"),
        ("1/2", (), "the run did not finish (no shard 2/2)"),
        ("1/1", (), "every law holds, is known or not applicable"),
    ],
)
def test_a_merge_says_why_it_ends_so(
    shard: str, verdicts: tuple[Verdict, ...], why: str, tmp_path: Path, command: Command
) -> None:
    part = written(tmp_path, *verdicts, header={"settings": {"shard": shard}})
    code = int("every" not in why)
    done = command("merge", part, "-o", tmp_path / "merged", ends=code)
    assert done.out.splitlines()[-1] == f"exit code {code}: {why}"


INTERRUPTED = Mock(side_effect=KeyboardInterrupt)


def judging(folder: Path) -> session.Session:
    """A session that has seen a violation."""
    made = session_of(report=folder)
    made.take(Batch("family/torch/eager/scope/0", 1, [VIOLATED]))
    return made


def test_interrupting_the_scripts_loses_neither_footer_nor_failures(
    tmp_path: Path, monkeypatch: Patch, command: Command
) -> None:
    monkeypatch.setattr(session, "confirmed", INTERRUPTED)
    made, status = judging(tmp_path), SimpleNamespace(exitstatus=1)
    made.pytest_sessionfinish(status, 1)  # type: ignore[arg-type]
    record = read(tmp_path)
    footer = record.footer or {}
    assert (footer["stopped"], footer["exit_code"], status.exitstatus) == ("interrupted", 2, 2)
    assert recorded("c7f3a1", tmp_path)["case"] == "LookupCase()"
    assert [verdict.counterexamples[0].script_confirmed for verdict in record.settled()] == [None]
    monkeypatch.setattr("embcheck.cli.claims.confirmed", INTERRUPTED)
    monkeypatch.setattr("embcheck.cli.claims.examples_of", lambda verdicts: [EXAMPLE])
    command("claims", "-k", "linear.joined", "--report", tmp_path / "claims", ends=2)
    assert read(tmp_path / "claims").complete
    assert recorded("c7f3a1", store_of(tmp_path / "claims"))["id"] == "c7f3a1"


@pytest.mark.parametrize("when", ["start", "finish"])
def test_interrupting_the_start_or_the_end_of_a_session_loses_no_footer(tmp_path: Path, when: str) -> None:
    (tmp_path / "interrupts.py").write_text(f"def pytest_session{when}(): raise KeyboardInterrupt")
    words = ("run", "--profile", "quick", "-k", "no_such", "--report", tmp_path, "--", "-n", "0", "-p", "interrupts")
    done = embcheck(*words, ends=2, plant=tmp_path)
    assert (done.out.splitlines()[-1], done.err) == ("exit code 2: interrupted", "")
    assert (read(tmp_path).footer or {})["stopped"] == "interrupted"


def test_an_interrupted_run_tries_no_script(tmp_path: Path) -> None:
    ended(judging(tmp_path), 2, confirmed=lambda examples: pytest.fail("it would take minutes"))
    assert recorded("c7f3a1", tmp_path)["case"] == "LookupCase()"


def test_scripts_of_what_is_shown_are_run_first() -> None:
    """Of many only some are, and a screen would name scripts that were not."""
    made, run = session_of(), list[str]()
    ways = tuple(replace(EXAMPLE, kind=kind, id=f"{kind} of a law") for kind in ("value", "bits"))
    other = replace(VIOLATED, law="other", counterexamples=(replace(EXAMPLE, law="other", id="another law"),))
    made.take(Batch("family/torch/eager/scope/0", 1, [replace(VIOLATED, counterexamples=ways), other]))

    def confirmed(examples: list[Counterexample]) -> list[Counterexample]:
        run.extend(example.id for example in examples)
        return examples

    ended(made, 1, confirmed=confirmed)
    assert run == ["value of a law", "another law", "bits of a law"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "record.ndjson").symlink_to("/dev/full")
    made = session_of(report=tmp_path)
    made.take(Batch("family/torch/eager/scope/0", 1, [verdict(cases=1)]))
    assert (ended(made).code, made.because) == (3, "the record is cut off: [Errno 28] No space left on device")
    assert [(each.law, each.status) for each in made.settled] == [("law", Status.HOLDS)]


def test_a_page_that_cannot_be_written_is_said_and_removed(tmp_path: Path, monkeypatch: Patch) -> None:
    page = tmp_path / "report.html"
    monkeypatch.setattr(opening, "write_whole", Mock(side_effect=OSError(28, "No space left on device", str(page))))
    made = ended(judging(tmp_path), 1)
    assert made.results.notes == [f"a report can't be written to {page}: No space left on device"]
    assert not page.exists()
    assert read(tmp_path).complete


def test_a_mode_in_which_no_law_was_judged_is_named_with_the_reason() -> None:
    absent = verdict(Status.NOT_APPLICABLE, mode="inductor", reasons=("not applicable: no C++ compiler",))
    assert idle([absent, verdict()]) == ["no law was judged in inductor: no C++ compiler"]
    assert idle([absent, verdict(mode="inductor")]) == []
