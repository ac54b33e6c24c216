"""CPU levels: what is asked for, what proves it, and what becomes of verdicts whose level was not proved."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command import Command

from embcheck.core import machine
from embcheck.core.machine import Machine
from embcheck.core.verdict import Counterexample, Status, Verdict
from embcheck.engine.levels import beside as beside_module
from embcheck.engine.levels.beside import Beside
from embcheck.engine.levels.level import (
    BEST,
    LOWEST,
    NAMES,
    Level,
    UnknownLevel,
    asked_for,
    below,
    lacking,
    level,
    level_of,
    named,
    script_at,
    unproved,
)
from embcheck.engine.levels.sweep import Request, Running, Swept, placed
from embcheck.record.store import keep
from embcheck.report.levels import level_lines, level_table
from embcheck.runner.run import Batch, Settings
from embcheck.runner.session import Session

MACHINES = {
    name: Machine.of(told) for name, told in json.loads(Path(__file__).with_name("machines.json").read_text()).items()
}
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
        (
            "AVX512_CORE_BF16",
            "AVX512",
            {"bfloat16": "brg_matmul:avx10_1_512_amx"},
            ("", "oneDNN multiplies bfloat16 by brg_matmul:avx10_1_512_amx, and AVX512_CORE_BF16 was asked for"),
        ),
        (
            LOWEST,
            "DEFAULT",
            {"float32": "jit:avx2"},
            ("", "oneDNN multiplies float32 by jit:avx2, and SSE41 was asked for"),
        ),
    ],
)
def test_evidence_is_what_the_process_used(
    name: str, capability: str, kernels: dict[str, str], told: tuple[str, str]
) -> None:
    assert unproved(level(name), Machine(cpu_capability=capability), kernels) == told


EXAMPLE = Counterexample(
    "a", "f", "torch", "eager", "cpu", "LookupCase()", "value", "w", script="# law\nimport sys\n\nimport torch\n"
)


def verdict(status: Status, *examples: Counterexample) -> Verdict:
    return Verdict("a", "f", "torch", "eager", "scope", status, cases=3, must_cover=("x",), counterexamples=examples)


def test_a_verdict_says_at_which_level_and_its_script_asks_for_it() -> None:
    found = placed(level("avx2"), Swept("avx2", EPYC), verdict(Status.VIOLATED, EXAMPLE))
    assert (found.device, found.status, found.must_cover) == ("cpu at avx2", Status.VIOLATED, ())
    (example,) = found.counterexamples
    assert level_of(example.device) == "avx2"
    assert example.id != EXAMPLE.id
    assert example.script == script_at(level("avx2"), EXAMPLE.script)
    assert example.script.startswith("# law\nimport os\nos.environ['ATEN_CPU_CAPABILITY'] = 'avx2'\n\nimport sys\n")
    compile(example.script, "script", "exec")


@pytest.mark.parametrize("status", [Status.HOLDS, Status.KNOWN])
def test_what_was_not_proved_is_unknown_and_never_holds(status: Status) -> None:
    found = placed(level("AVX2"), Swept("AVX2", EPYC, doubt="a kernel above"), verdict(status))
    assert (found.status, found.reasons) == (Status.UNKNOWN, ("a kernel above",))
    assert placed(level("AVX2"), Swept("AVX2", EPYC, doubt="d"), verdict(Status.VIOLATED)).status == Status.VIOLATED


def test_the_table_has_a_column_for_each_level_that_was_judged() -> None:
    best = Swept(BEST, EPYC, verdicts=(verdict(Status.HOLDS),))
    absent = Swept("AVX10_2", absent="this CPU has no avx10_2")
    other = Swept("avx2", EPYC, verdicts=(placed(level("avx2"), best, verdict(Status.VIOLATED)),))
    swept = [best, absent, other]
    lines = level_lines(swept)
    assert [line.split()[:2] for line in lines] == [["1", "best"], ["–", "AVX10_2"], ["2", "avx2"]]
    assert lines[1].endswith("not applicable: this CPU has no avx10_2")
    table = level_table(swept, [*best.verdicts, *other.verdicts])
    assert [column.header for column in table.columns] == ["law", "1", "2", "cases"]
    assert [[str(cell) for cell in column.cells] for column in table.columns] == [["a"], ["holds"], ["violated"], ["3"]]


@pytest.mark.skipif(bool(lacking(level(LOWEST), machine.seen(), machine.flags_of(), {})), reason="no level to choose")
def test_a_process_proves_its_level_and_judges_the_same_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    request = Request(("linear",), ("random",), seed=3)
    running = [Running(found, request) for found in (Level(BEST, {}), level(LOWEST))]
    best, lowest = [process.result() for process in running]
    assert (lowest.machine.cpu_capability, lowest.absent, lowest.doubt) == ("DEFAULT", "", "")
    assert asked_for(LOWEST, dict(cap.split("=", 1) for cap in lowest.machine.caps))
    assert {v.device for v in lowest.verdicts} == {"cpu at lowest"}
    assert [v.digest for v in lowest.verdicts] == [v.digest for v in best.verdicts]
    assert all(v.status <= Status.KNOWN for v in lowest.verdicts)


def test_a_process_without_an_answer_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    swept = Running(level("default"), Request(("linear",))).result()
    assert swept.words.startswith("unknown: its process gave no answer (exit status 1)")
    assert [(v.status, v.device) for v in swept.verdicts] == [(Status.UNKNOWN, "cpu at default")]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("doesnotexist", 4, "no CPU level 'doesnotexist'"),
        ("all --mode vmap", 4, "without --mode"),
        ("all --device cuda", 4, "no device 'cuda'"),
        ("all -k dtensor", 5, "nothing was selected: 'dtensor' is none of linear"),
        ("all -k (", 4, "-k '('"),
    ],
)
def test_what_can_not_be_asked_for_is_one_line(words: str, code: int, said: str, command: Command) -> None:
    done = command("run", "--cpu", *words.split())
    assert (done.code, said in done.out + done.err) == (code, True), done


def test_a_failure_at_a_level_is_replayed_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """By a process of that level; within it the device is the CPU."""
    asked: list[Any] = []

    def run(command: list[str], *, env: dict[str, str], check: bool) -> Any:
        asked.append((command[1:], env["ATEN_CPU_CAPABILITY"]))
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    known = replace(EXAMPLE, id="abc123", device="cpu at avx2")
    keep(known, tmp_path)
    assert command("replay", "abc123", "--store", tmp_path).code == 1
    assert asked == [(["-m", "embcheck", "replay", "abc123", "--store", str(tmp_path)], "avx2")]

    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    replayed: list[str] = []

    def fixed(record: dict[str, Any]) -> tuple[str, str]:
        replayed.append(record["device"])
        return "FIXED", ""

    monkeypatch.setattr("embcheck.cli.replay._replayed", fixed)
    assert command("replay", "abc123", "--store", tmp_path).code == 0
    assert (replayed, len(asked)) == (["cpu"], 1)

    keep(replace(known, id="abc124", device="cpu at nonsense"), tmp_path)
    done = command("replay", "abc124", "--store", tmp_path)
    assert (done.code, "no CPU level 'nonsense'" in done.err) == (4, True)


# -- beside a run ----------------------------------------------------------------------------------------------------

ITEMS = [f"properties/extended/test_linear.py::test_{engine}[eager-0]" for engine in ("scope", "product", "random")]


def beside(profile: str = "gate", alone: bool = True) -> Beside:
    return Beside(profile=profile, seed=0, ledgers=("known.toml",), torch_alone=alone)


def test_the_gate_has_the_lowest_level_beside_it_and_quick_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(beside_module, "Running", lambda wanted, request, python: started.append(request))
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
    assert [request.families for request in started] == [("linear",)]


def test_where_there_is_none_the_header_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_module, "seen", lambda: Machine("Neoverse", "aarch64"))
    config: Any = SimpleNamespace(option=SimpleNamespace(collectonly=False))
    session = Session(config, Settings(report=tmp_path))
    assert session.record.header["levels"] == {LOWEST: "not applicable: there is no level to choose on aarch64"}
    session.beside.start(ITEMS)
    assert session.beside.result() is None
    for name, value in level(LOWEST).environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(beside_module, "seen", lambda: XEON)
    assert beside().absent == "the run itself is at the lowest level"


def test_what_it_found_is_the_run_s_and_changes_no_digest() -> None:
    config: Any = SimpleNamespace(option=SimpleNamespace(collectonly=False))
    session = Session(config, Settings(profile="quick"))
    session.take(Batch("item", 1, [verdict(Status.HOLDS)], (), EPYC))
    digest = session.results.digest
    swept = Swept(LOWEST, EPYC, verdicts=(placed(level(LOWEST), Swept(LOWEST), verdict(Status.VIOLATED, EXAMPLE)),))
    session.beside = SimpleNamespace(result=lambda: swept)  # type: ignore[assignment]
    session.take_level()
    assert session.results.digest == digest
    assert {(v.device, v.status) for v in session.results.settle()} == {
        ("cpu", Status.UNKNOWN),  # an obligation that no case met
        ("cpu at lowest", Status.VIOLATED),
    }


def test_elsewhere_one_line_says_what_is_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert machine.promised() == ""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "fork")
    monkeypatch.setattr(machine, "_has_flock", lambda: False)
    assert machine.promised().endswith("fork (crashes are not isolated), flock (a report's folder is not locked)")
