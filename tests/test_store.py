"""Failures are kept in one layout: what is printed to see one again works as printed, and so does the page's."""

import os
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from command import Patch
from records import EXAMPLE, VIOLATED, written

from embcheck.cli.usage import store_for, where_kept
from embcheck.core.files import Busy, emptied, opened_alone, write_whole
from embcheck.record.record import FORMAT, PAGE, Record, Writer, read
from embcheck.record.store import (
    STORE,
    StoreError,
    gather,
    is_kept,
    keep,
    kept_in,
    recorded,
    replay_command,
    script_of,
    store_of,
)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond some bytes: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page"
    with full_disk(1000):
        with pytest.raises(OSError, match="page"):
            write_whole(path, "x" * 5000)
        assert list(path.parent.iterdir()) == []
        write_whole(path, "former")
        with pytest.raises(OSError, match="page"):
            write_whole(path, "x" * 5000)
    assert path.read_text() == "former"
    write_whole(path, "√\ud800")
    assert path.read_text(encoding="utf-8") == r"√\ud800"
    assert list(path.parent.iterdir()) == [path]


def test_what_is_no_file_is_written_to_and_stays_what_it_is(tmp_path: Path) -> None:
    (link := tmp_path / "link").symlink_to("page")
    write_whole(link, "text")
    assert (link.is_symlink(), (tmp_path / "page").read_text()) == (True, "text")
    os.mkfifo(pipe := tmp_path / "pipe")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "text")
    assert (os.read(reader, 10), pipe.is_fifo()) == (b"text", True)
    os.close(reader)


def test_a_former_record_and_its_page_stay_until_the_new_header(tmp_path: Path) -> None:
    path = written(tmp_path, VIOLATED)
    (tmp_path / PAGE).write_text("of a former run")
    former = path.read_text()
    writer = Writer(path)
    assert (tmp_path / PAGE).exists()
    assert path.read_text() == former, "a run that is killed before its header leaves it"
    writer.header()
    assert read(path) == Record({"format": FORMAT})
    assert not (tmp_path / PAGE).exists()
    writer.close()


def test_a_file_is_written_by_one_process_at_a_time_and_free_when_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "record.ndjson"
    program = "import sys, time; from embcheck.core.files import opened_alone as o; from pathlib import Path as P\n"
    program += "f = o(P(sys.argv[1])); f.write('first'); f.flush(); print(flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(Busy, match="another run writes there now"):
        opened_alone(path)
    with pytest.raises(Busy):
        Writer(path)
    assert path.read_text() == "first"
    other.kill()
    other.wait()
    with opened_alone(path) as file:
        emptied(file)
    assert path.read_text() == ""


@pytest.mark.parametrize("report", [None, "out", "a folder/out", "/somewhere/else"])
def test_the_printed_command_finds_the_failure(report: str | None, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = None if report is None else tmp_path / report.lstrip("/") if report.startswith("/") else Path(report)
    keep(EXAMPLE, store_of(folder))
    words = shlex.split(replay_command("c7f3a1", store_of(folder)))
    assert words[:3] == ["embcheck", "replay", "c7f3a1"]
    assert (words[3:4] == ["--store"]) == (report is not None)
    store = Path(words[4]) if words[4:] else Path(".embcheck")
    assert recorded("c7f3a1", store)["case"] == "LookupCase()"
    assert script_of("c7f3a1", store) == EXAMPLE.script


def test_the_folder_of_a_report_and_a_former_audit_s_are_stores(tmp_path: Path) -> None:
    keep(EXAMPLE, tmp_path / "run" / ".embcheck")
    keep(EXAMPLE, tmp_path / "audit")
    for store in ("run", "run/.embcheck", "audit"):
        assert is_kept("c7f3a1", tmp_path / store)
    assert not is_kept("c7f3a2", tmp_path / "run")
    with pytest.raises(StoreError, match="kept are c7f3a1"):
        recorded("c7f3a2", tmp_path / "run")


def test_what_shards_keep_is_gathered(tmp_path: Path) -> None:
    for name, failure in (("first", "c7f3a1"), ("second", "c8aaaa")):
        keep(replace(EXAMPLE, id=failure), tmp_path / name / STORE)
        gather(tmp_path / name, tmp_path)
    gather(tmp_path, tmp_path)
    assert kept_in(tmp_path / STORE) == ["c7f3a1", "c8aaaa"]
    assert script_of("c8aaaa", tmp_path) == EXAMPLE.script


def test_a_beginning_that_no_other_failure_has_names_one(tmp_path: Path) -> None:
    keep(EXAMPLE, tmp_path)
    keep(replace(EXAMPLE, id="c8aaaa"), tmp_path)
    assert (recorded("c7", tmp_path)["id"], script_of("c8a", tmp_path)) == ("c7f3a1", EXAMPLE.script)
    with pytest.raises(StoreError, match="several begin so, c7f3a1, c8aaaa"):
        recorded("c", tmp_path)
    (tmp_path / "c8aaaa.py").unlink()
    with pytest.raises(StoreError, match=r"the file c8aaaa\.py is missing"):
        script_of("c8", tmp_path)


def test_a_project_has_one_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept where pytest keeps it, which does not read the table, is found as well."""
    monkeypatch.chdir(tmp_path)
    assert store_for(None) == where_kept("c7f3a1", None) == Path(".embcheck")
    (tmp_path / "pyproject.toml").write_text("[tool.embcheck]\nreport = 'out'\n")
    configured = tmp_path / "out" / ".embcheck"
    assert store_for(None) == where_kept("c7f3a1", None) == configured
    assert store_for(Path("mine")) == Path("mine") / ".embcheck"
    keep(EXAMPLE, Path(".embcheck"))
    assert where_kept("c7f3a1", None) == Path(".embcheck")
    keep(EXAMPLE, configured)
    assert where_kept("c7f3a1", None) == configured
    assert where_kept("c7f3a1", Path("mine")) == Path("mine")
