"""A law that no hunt happened to see broken gets a second look."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from embcheck.collect import load_families
from embcheck.crashes.patience import Hangs
from embcheck.selfcheck import Worker, redeemed


def test_a_law_that_a_fault_breaks_is_no_decoration() -> None:
    law = "reparametrized_is_accepted"
    assert redeemed([law], load_families(), "quick", 0) == {law}


def test_a_law_that_meets_no_fault_stays_one() -> None:
    assert redeemed(["reparametrized_is_accepted"], load_families(), "quick", 0, limit=0.0) == set()


def test_a_worker_that_hangs_is_ended_and_another_goes_on() -> None:
    worker = Worker()
    try:
        with pytest.raises(Hangs):
            worker.asked(2.0, time.sleep, 3600)
        with pytest.raises(Hangs):
            worker.asked(2.0, max, iter(int, 1))
        with pytest.raises(BrokenProcessPool):
            worker.asked(60.0, os._exit, 1)
        assert worker.asked(60.0, abs, -3) == 3
    finally:
        worker.close()


def test_workers_end_with_a_command_that_is_killed(tmp_path: Path) -> None:
    source = "from embcheck.selfcheck import Worker\nimport os\nif __name__ == '__main__':\n"
    source += "    worker = Worker()\n    print(worker.asked(60.0, os.getpid), flush=True)\n    worker.asked(60.0, max, iter(int, 1))\n"
    script = tmp_path / "hunting.py"
    script.write_text(source, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        pid = int(command.stdout.readline())
        command.kill()
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
        assert time.monotonic() < end, "the worker goes on"
        time.sleep(0.1)
