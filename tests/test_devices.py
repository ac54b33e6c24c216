"""What is done otherwise on a device than on the CPU; ``cpu:0`` stands for one, since it takes the same way through the code."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from packaging.specifiers import SpecifierSet

from embcheck.core.axes import parse
from embcheck.core.law import FAMILIES
from embcheck.core.ledger import Ledger
from embcheck.core.outcome import Outcome, ProcessDied
from embcheck.core.result import Absent, Difference, NotApplicable
from embcheck.core.shipped_ledger import shipped
from embcheck.core.verdict import Status
from embcheck.engine.crashes.isolate import confined as asked
from embcheck.engine.execute import lost, outcome
from embcheck.engine.execution import Execution, obstacle
from embcheck.engine.script import script
from embcheck.engine.tally import Tallies
from embcheck.engine.witness import look
from embcheck.modes.mode import MODES
from embcheck.runner import run
from embcheck.runner.run import Settings, UsageError, usable
from embcheck.subject.collect import load_families

load_families()
DEVICE, EAGER = "cpu:0", MODES["eager"]
LOOKUP = FAMILIES["lookup"]
PLAIN = parse("LookupCase(num_embeddings=3, embedding_dim=2)")
AFTER = parse("LookupCase(num_embeddings=3, embedding_dim=2, history='after_error')")


def test_what_goes_on_after_a_refusal_is_not_executed() -> None:
    found = Execution(DEVICE)(LOOKUP, EAGER, AFTER)
    assert isinstance(found, NotApplicable)
    assert isinstance(found.why, Absent), "no law owes a case of this"
    assert "assert" in found.why
    assert isinstance(Execution()(LOOKUP, EAGER, AFTER), Outcome), "on the CPU it is"


@pytest.mark.parametrize("name", ["dtensor", "initializers", "quantized_embedding", "tutorial_claims"])
def test_a_family_of_the_cpu_says_why(name: str) -> None:
    family = FAMILIES[name]
    case = next(iter(family.space.small()))
    assert obstacle(family, case) == family.only_cpu != ""


def test_a_refusal_is_executed_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    confined = Mock(wraps=asked)
    monkeypatch.setattr("embcheck.engine.execution.confined", confined)
    refused = PLAIN.but(out_of_range="V")
    found = Execution(DEVICE)(LOOKUP, EAGER, refused)
    confined.assert_called_once_with("lookup", "eager", repr(refused), DEVICE)
    assert isinstance(found, Outcome)
    assert isinstance(found.error, IndexError)
    assert found.written() == {}


@pytest.mark.parametrize("apart", [False, True])
def test_an_outcome_names_the_device_as_its_tensors_do(apart: bool) -> None:
    found = Execution(DEVICE, apart=apart)(LOOKUP, EAGER, PLAIN)
    assert isinstance(found, Outcome)
    assert found.device == found.leaf.plain("device") == "cpu"


def test_the_devices_that_are_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "usable", lambda device: device == "cuda")
    with pytest.raises(UsageError, match=r"^no device 'meta' to check; there are cpu and cuda$"):
        Settings(device="meta").checked()


def test_whether_a_device_can_be_used_does_not_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has asked CUDA itself may not use it in its forks."""
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    asked: list[str | None] = []

    def is_available() -> bool:
        asked.append(os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"))
        return True

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    assert usable("cuda")
    assert asked == ["1"]
    assert not usable("tpu")


def test_a_device_that_refuses_everything_is_lost() -> None:
    raised = outcome(EAGER, {}, device="meta", error=RuntimeError("CUDA error"))
    assert lost(raised), "meta has no elements to give back, as a device that has asserted has none"
    assert not lost(outcome(EAGER, {}, device="meta"))
    assert not lost(outcome(EAGER, {}, device="cpu", error=RuntimeError("refused")))


def test_a_process_that_lost_its_device_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embcheck.engine.execution.lost", lambda out: True)
    monkeypatch.setattr("os.abort", Mock(side_effect=SystemExit("aborted")))
    with pytest.raises(SystemExit):
        Execution(DEVICE)(LOOKUP, EAGER, PLAIN)


def test_a_fork_tells_that_a_case_loses_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from embcheck.engine.crashes import forks  # here, for it imports torch._dynamo

    monkeypatch.setattr(forks, "lost", lambda out: out.device == "cpu" and out.error is None)
    assert forks.symptom(LOOKUP, EAGER, [PLAIN], DEVICE, 30.0) == "crash SIGABRT"
    spared = [AFTER, PLAIN.but(out_of_range="V")]
    assert forks.symptom(LOOKUP, EAGER, spared, DEVICE, 30.0) is None, "which no process that goes on executes"


def test_a_script_makes_its_tensors_on_the_device(tmp_path: Path) -> None:
    law = next(law for law in LOOKUP.laws if law.name == "lookup_is_accepted")
    found = Difference("raised RuntimeError", "error", "raised RuntimeError: no", None, "raised RuntimeError: no")
    text = script(LOOKUP, EAGER, law, PLAIN, found, DEVICE)
    assert "torch.set_default_device('cpu:0')" in text
    assert "set_default_device" not in script(LOOKUP, EAGER, law, PLAIN, found)
    (tmp_path / "s.py").write_text(text, encoding="utf-8")
    assert subprocess.run([sys.executable, tmp_path / "s.py"], check=False).returncode == 0


def test_an_entry_of_another_device_is_not_applicable() -> None:
    entry = next(entry for entry in shipped()[0] if entry.device == "cuda*")
    verdict = look(entry)
    assert (verdict.status, "device cuda*" in verdict.reasons[0]) == (Status.NOT_APPLICABLE, True)


def test_a_witness_of_the_cpu_is_run_apart_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does there nobody has measured: it may leave the process unable to use the device."""
    entry = next(entry for entry in shipped()[0] if entry.name == "bag-zero-width-threads")
    monkeypatch.setattr("embcheck.engine.execution.run", lambda *arguments, **more: pytest.fail("not in this process"))
    monkeypatch.setattr("embcheck.engine.execution.elsewhere", Mock(side_effect=ProcessDied("crash SIGABRT")))
    verdict = look(replace(entry, measured={}), DEVICE)
    assert (verdict.status, "seems fixed" in verdict.reasons[0]) == (Status.HOLDS, True)


@pytest.mark.parametrize(
    ("family", "name", "device", "releases", "absent"),
    [
        ("max_norm", "cuda-renorm-of-no-columns", "cuda", "", True),
        ("max_norm", "cuda-renorm-of-no-columns", "cpu", "", False),
        *(
            ("gradient", "double-backward-empty", "cpu", *each)
            for each in (("<2.6", True), ("<2.15", False), ("", False))
        ),
    ],
)
def test_what_is_known_to_raise_on_a_device_or_in_other_releases_alone_is_owed_to_no_law(
    family: str, name: str, device: str, releases: str, absent: bool
) -> None:
    """The cases that oblige are chosen for the CPU, on the releases on which the entries were measured."""
    entry = next(entry for entry in shipped()[0] if entry.name == name)
    ledger = Ledger((replace(entry, device=device, torch=SpecifierSet(releases)),))
    tallies = Tallies(FAMILIES[family], EAGER, ledger, device=device)
    tallies(entry.case)
    assert tallies.accept.known == 1
    assert any(tally.absent for tally in tallies.each) == absent
