"""CPU levels: what is asked for, what proves it, and what becomes of verdicts whose level was not proved."""

import os
import platform
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import pytest
from command import Command, Patch
from records import EXAMPLE, MACHINES, VIOLATED, session_of, verdict, written
from warm import python

from embcheck.core import machine
from embcheck.core.case import LookupCase
from embcheck.core.ledger import SHIPPED
from embcheck.core.machine import Machine
from embcheck.core.result import Difference
from embcheck.core.verdict import Status
from embcheck.engine.levels import level as beside_module
from embcheck.engine.levels import process
from embcheck.engine.levels.level import (
    LOWEST,
    NAMES,
    Beside,
    Swept,
    UnknownLevel,
    below,
    lacking,
    level,
    level_of,
    named,
    placed,
    unproved,
)
from embcheck.engine.script import script
from embcheck.modes.mode import MODES
from embcheck.record.store import keep
from embcheck.runner.run import Batch
from embcheck.subject.collect import load_families

XEON, EPYC = MACHINES["xeon-amx"], MACHINES["epyc"]
FLAGS = {
    *("sse4_1", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"),
}


def test_levels_are_named() -> None:
    assert [found.name for found in named("all")] == list(NAMES)
    assert [found.name for found in named("avx2, AVX2,avx2")] == ["avx2", "AVX2"]
    assert level("avx2").environment == {"ATEN_CPU_CAPABILITY": "avx2"}
    assert level("AVX512_CORE_AMX") == level("AVX10_1_512_AMX"), "one level under two names"
    assert level(LOWEST).environment == {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    with pytest.raises(UnknownLevel, match="no CPU level 'avx-512'; did you mean avx512"):
        named("avx2,avx-512")
    with pytest.raises(UnknownLevel, match="there are all, default, avx2"):
        level("doesnotexist")


def test_the_order_is_partial() -> None:
    assert below("AVX2") == {"AVX2", "AVX", "SSE41"}
    assert "AVX2_VNNI" not in below("AVX512_CORE_BF16")
    assert "AVX512_CORE" not in below("AVX2_VNNI_2")
    assert below("AVX10_2_AMX_2") >= set(NAMES) - {"default", "avx2", "avx512", LOWEST}


@pytest.mark.parametrize(
    ("name", "flags", "environ", "reason"),
    [
        ("AVX10_1_512_AMX", FLAGS, {}, ""),
        ("AVX10_1_512_AMX", FLAGS - {"amx_bf16"}, {}, "this CPU has no amx_bf16"),
        ("avx512", FLAGS - {"avx512f"}, {}, "this CPU has no avx512f"),
        ("avx512", FLAGS, {"ATEN_CPU_CAPABILITY": "avx2"}, "it is above ATEN_CPU_CAPABILITY=avx2, which was set"),
        ("default", FLAGS, {"ATEN_CPU_CAPABILITY": "avx2"}, ""),
        ("avx512", FLAGS, {"ATEN_CPU_CAPABILITY": "AVX2"}, ""),  # which ATen takes no notice of
        ("AVX512_CORE", FLAGS, {"DNNL_MAX_CPU_ISA": "avx2"}, "it is above ONEDNN_MAX_CPU_ISA=avx2, which was set"),
        ("AVX512_CORE", FLAGS, {"ONEDNN_MAX_CPU_ISA": "NONSENSE"}, ""),
        (LOWEST, FLAGS, {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "default"}, ""),
        ("AVX2", FLAGS, {"ATEN_CPU_CAPABILITY": "default"}, ""),
    ],
)
def test_what_the_machine_lacks_or_the_user_forbids_is_not_asked_for(
    name: str, flags: set[str], environ: dict[str, str], reason: str
) -> None:
    assert lacking(level(name), XEON, frozenset(flags), environ) == reason


def test_elsewhere_there_is_no_level_to_choose() -> None:
    arm = Machine("Neoverse", "aarch64")
    assert {lacking(found, arm, frozenset(FLAGS), {}) for found in named("all")} == {
        "there is no level to choose on aarch64"
    }


@pytest.mark.parametrize(
    ("name", "capability", "kernels", "told"),
    [
        ("avx2", "AVX2", {}, ("", "")),
        ("avx512", "AVX2", {}, ("torch uses avx2 at most here", "")),
        ("default", "AVX512", {}, ("", "torch uses avx512, and default was asked for")),
        ("default", "", {}, ("", "torch uses what it does not say, and default was asked for")),
        ("AVX2", "AVX512", {"bfloat16": "", "float32": ""}, ("", "")),
        ("AVX512_CORE", "AVX512", {"bfloat16": "gemm:jit:bf16"}, ("", "")),
        ("AVX10_1_512", "AVX512", {"bfloat16": "brg_matmul:avx512_core_bf16"}, ("", "")),
        ("AVX512_CORE_BF16", "AVX512", {"bfloat16": "x:avx10_1_512_amx"}, ("", "oneDNN multiplies bfloat16 by x:")),
        (LOWEST, "DEFAULT", {"float32": "jit:avx2"}, ("", "oneDNN multiplies float32 by jit:avx2, and SSE41 was")),
    ],
)
def test_evidence_is_what_was_used(name: str, capability: str, kernels: dict[str, str], told: tuple[str, str]) -> None:
    found = unproved(level(name), Machine(cpu_capability=capability), kernels)
    assert all(said.startswith(words) and bool(said) == bool(words) for said, words in zip(found, told, strict=True))


def test_a_verdict_says_at_which_level(monkeypatch: Patch) -> None:
    found = placed(replace(VIOLATED, must_cover=("x",)))
    assert (found.device, found.status, found.must_cover) == ("cpu at lowest", Status.VIOLATED, ())
    (example,) = found.counterexamples
    assert level_of(example.device) == "lowest"
    assert example.id != EXAMPLE.id
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "NO AVX")
    assert not any(unproved(level("default"), machine.here.__wrapped__(), {}))


@pytest.mark.parametrize("status", [Status.HOLDS, Status.KNOWN])
def test_what_was_not_proved_is_unknown_and_never_holds(status: Status) -> None:
    found = placed(verdict(status), "a kernel above")
    assert (found.status, found.reasons) == (Status.UNKNOWN, ("a kernel above",))
    assert placed(verdict(Status.VIOLATED), "d").status == Status.VIOLATED


def test_a_script_asks_for_what_chose_the_kernels(monkeypatch: Patch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    family = load_families()["lookup"]
    found = Difference("value", 'seen["value"]', 1, 2, "1, not 2")
    text = script(family, MODES["eager"], family.laws[0], LookupCase(2, 2), found)
    before, _, _ = text.partition("import torch\n")
    assert "import os\n" in before
    assert "os.environ['ATEN_CPU_CAPABILITY'] = 'avx2'\n" in before
    compile(text, "script", "exec")


CHOOSING = pytest.mark.skipif(
    bool(lacking(level(LOWEST), machine.seen(), machine.flags_of(), {})), reason="no level to choose"
)


@CHOOSING
def test_a_process_proves_its_level(monkeypatch: Patch) -> None:
    for name in (*level(LOWEST).environment, "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    found = Beside(profile="gate", seed=3, ledgers=(str(SHIPPED),), torch_alone=True)
    found.launch(("conversion",))
    lowest = found.result()
    assert lowest is not None
    assert lowest.words.startswith("ATen DEFAULT; oneDNN ")
    assert lowest.machine.cpu_capability == "DEFAULT"
    assert {"ATEN_CPU_CAPABILITY=default", "ONEDNN_MAX_CPU_ISA=SSE41"} <= set(lowest.machine.caps)
    assert {v.device for v in lowest.verdicts} == {"cpu at lowest"}
    assert any(v.cases for v in lowest.verdicts)
    assert all(v.status <= Status.KNOWN for v in lowest.verdicts)


@CHOOSING
def test_no_import_of_laws_chooses_a_kernel() -> None:
    """A run's processes are forks of one that imported them: each reads the variables when it calls its first kernel."""
    asked = "import os; from embcheck.subject.collect import load_families; load_families()\n"
    asked += "os.environ['ATEN_CPU_CAPABILITY'] = 'default'"
    told = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    done = python("-c", f"{asked}\n{told}")
    assert done.stdout == "DEFAULT\n", done.stderr


@pytest.mark.parametrize(
    ("capability", "asked", "started", "anew"),
    [("AVX512", "default", "fork_server", True), ("DEFAULT", "default", "fork_server", False),
     ("AVX512", "default", process.MODULE, False), ("AVX512", "", "fork_server", False)],
)  # fmt: skip
def test_a_fork_that_comes_too_late_for_its_level_begins_anew(
    capability: str, asked: str, started: str, anew: bool, monkeypatch: Patch
) -> None:
    """In torch 2.6 to 2.8 importing torch._dynamo chooses the level."""
    monkeypatch.setattr(process, "here", lambda: Machine(cpu_capability=capability))
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", started])
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", asked)
    monkeypatch.setattr("os.execv", begun := Mock())
    process.begin_anew()
    assert begun.mock_calls == [call(sys.executable, [sys.executable, "-m", process.MODULE])] * anew


def test_a_process_without_an_answer_is_unknown(monkeypatch: Patch) -> None:
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    found = beside()
    found.launch(("conversion",))
    swept = found.result()
    assert swept is not None
    assert swept.words.startswith("unknown: its process gave no answer (exit status 1)")
    assert [(v.status, v.device) for v in swept.verdicts] == [(Status.UNKNOWN, "cpu at lowest")]


def test_each_level_that_there_is_runs_by_itself(tmp_path: Path, monkeypatch: Patch, command: Command) -> None:
    """In processes of its own, into a folder of its own; the exit code is the worst, and what was not proved is no pass."""
    asked: list[Any] = []

    def run(words: list[str], *, env: dict[str, str], check: bool) -> Any:
        folder = Path(words[-1].removeprefix("--report="))
        asked.append((env.get("ATEN_CPU_CAPABILITY"), words[3:-1], folder.name))
        if folder.name != "avx512":
            status = Status.HOLDS if folder.name == "avx2" else Status.KNOWN
            written(folder, verdict(status), header={"machine": {"cpu_capability": folder.name.upper()}})
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("embcheck.cli.levels.lacking", lambda level, *given: "no vnni" * (level.name == "AVX2_VNNI"))
    words = ("run", "--cpu", "default,avx2,AVX2_VNNI", "-k", "linear", "--strict", "--report", tmp_path)
    done = command(*words)
    given = ["run", "--quiet", "--profile=quick", "--select=linear", "--strict"]
    assert [(cap, sorted(words), name) for cap, words, name in asked] == [
        (name, sorted(given), name) for name in ("default", "avx2")
    ]
    assert "AVX2_VNNI: not applicable: no vnni" in done.out
    assert "avx2: ATen AVX2; oneDNN multiplied nothing" in done.out
    assert re.search(r"law +default +avx2\s+law +known +holds", done.out)
    command("run", "--cpu", "avx512", "--report", tmp_path, ends=1)  # there is no record


def test_a_failure_at_a_level_is_replayed_there(tmp_path: Path, monkeypatch: Patch, command: Command) -> None:
    """By a process with the variables that chose the kernels; within it the device is the CPU."""
    run = Mock(return_value=SimpleNamespace(returncode=1))
    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    known = replace(EXAMPLE, id="abc123", device="cpu at avx2")
    keep(known, tmp_path, machine=Machine(caps=("ATEN_CPU_CAPABILITY=avx2",)).to_dict())
    command("replay", "abc123", "--store", tmp_path, ends=1)
    assert run.call_args.args[0][1:] == ["-m", "embcheck", "replay", "abc123", "--store", str(tmp_path)]
    assert run.call_args.kwargs["env"]["ATEN_CPU_CAPABILITY"] == "avx2"

    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    fixed = Mock(return_value=("FIXED", ""))
    monkeypatch.setattr("embcheck.cli.replay._replayed", fixed)
    command("replay", "abc123", "--store", tmp_path)
    assert (fixed.call_args.args[0]["device"], run.call_count) == ("cpu", 1)


# -- beside a run ----------------------------------------------------------------------------------------------------

ITEMS = [f"properties/core/test_conversion.py::test_{engine}[eager-0]" for engine in ("scope", "product", "random")]


def beside(profile: str = "gate", alone: bool = True) -> Beside:
    return Beside(profile=profile, seed=0, ledgers=("known.toml",), torch_alone=alone)


def test_the_gate_has_the_lowest_level_beside_it_and_quick_has_not(monkeypatch: Patch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(Beside, "launch", lambda beside, families, python: started.append(families))
    monkeypatch.setattr(beside_module, "lacking", lambda *given: "")
    for name in level(LOWEST).environment:
        monkeypatch.delenv(name, raising=False)
    for found in (beside("quick"), beside(alone=False)):
        assert not found.due
        found.start(ITEMS)
    found = beside()
    assert found.words == "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41"
    found.start(ITEMS[:2])
    assert not started, "a family of which not every engine was selected"
    found.start([*ITEMS, "properties/core/test_padding.py::test_scope[eager-0]"])
    assert started == [["conversion"]]


def test_where_there_is_none_the_header_says_so(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(beside_module, "seen", lambda: Machine("Neoverse", "aarch64"))
    session = session_of(report=tmp_path)
    assert session.record.header["levels"] == {LOWEST: "not applicable: there is no level to choose on aarch64"}
    session.beside.start(ITEMS)
    assert session.beside.result() is None
    for name, value in level(LOWEST).environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(beside_module, "seen", lambda: XEON)
    assert beside().absent == "the run itself is at the lowest level"


def test_elsewhere_one_line_says_what_is_not_available(monkeypatch: Patch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert machine.promised() == ""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "fork")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert machine.promised().endswith("fork (crashes are not isolated), flock (a report's folder is not locked)")


def test_what_it_found_is_the_run_s_and_changes_no_digest() -> None:
    session = session_of(profile="quick")
    session.take(Batch("item", 1, [verdict(cases=3, must_cover=("x",))], (), EPYC))
    digest = session.results.digest
    swept = Swept(LOWEST, "", EPYC, verdicts=(placed(VIOLATED),))
    session.beside = SimpleNamespace(result=lambda: swept)  # type: ignore[assignment]
    session.take_level()
    assert session.results.digest == digest
    assert {(v.device, v.status) for v in session.results.settle()} == {
        ("cpu", Status.UNKNOWN),  # an obligation that no case met
        ("cpu at lowest", Status.VIOLATED),
    }
