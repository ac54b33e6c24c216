"""A law that no run happened to see broken gets a second look."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor

import pytest

from embcheck.engine.crashes.patience import Hangs
from embcheck.subject.collect import load_families
from selfcheck import by_hand
from selfcheck.by_hand import Worker, rechecked


def test_a_law_that_a_fault_breaks_is_not_idle() -> None:
    law = "padding_is_accepted"
    assert rechecked([law], load_families(), "quick", 0) == {law}


def test_a_law_that_meets_no_fault_stays_one() -> None:
    assert rechecked(["padding_is_accepted"], load_families(), "quick", 0, limit=0.0) == set()


def test_a_worker_that_hangs_is_ended_and_another_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a fork of this process, which is there at once; as it is started: `test_processes.py`."""
    forking = multiprocessing.get_context("fork")
    monkeypatch.setattr(by_hand, "_pool", lambda: ProcessPoolExecutor(1, mp_context=forking))
    worker = Worker()
    try:
        with pytest.raises(Hangs):
            worker.asked(0.5, time.sleep, 3600)
        with pytest.raises(BrokenProcessPool):
            worker.asked(60.0, os._exit, 1)
        assert worker.asked(60.0, abs, -3) == 3
    finally:
        worker.close()
