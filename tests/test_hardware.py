"""What a machine is said to be, and what was proved of it."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from records import session_of, written

from embcheck.core.machine import Machine, here, kernel, seen
from embcheck.record.record import read
from embcheck.runner.run import Batch, environment

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Gold 6430
flags\t\t: fpu sse4_1 avx2 avx512f avx512_bf16 amx_bf16 avx512_fp16 amx_tile amx_int8

processor\t: 1
model name\t: another
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"
XEON = Machine("Xeon", "x86_64", ("avx2",), 2, (), "AVX512", "3.12.0", "brg_matmul:avx10_1_512_amx", "mkl 2024.2", 1)


def test_what_the_system_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    (tmp_path / "x86").write_text(X86)
    found = seen(tmp_path / "x86")
    assert found.cpu == "Intel(R) Xeon(R) Gold 6430"
    assert found.isa == ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16")
    assert {"ONEDNN_MAX_CPU_ISA=AVX2", "MKL_CBWR=COMPATIBLE"} <= set(found.caps)
    assert (found.cpu_capability, found.onednn_kernel) == ("", ""), "flags prove nothing"
    (tmp_path / "arm").write_text(ARM)
    assert seen(tmp_path / "arm").isa == ("asimd", "sve", "bf16")
    assert seen(tmp_path / "nothing").cores >= 1


def test_what_is_used_is_proved_without_a_word_on_the_output(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(1, b"before ")
    found = here()
    assert kernel("bfloat16") == found.onednn_kernel
    os.write(1, b"after")
    assert capfd.readouterr() == ("before after", "")
    assert found.cpu_capability == torch.backends.cpu.get_cpu_capability()
    assert found.onednn or "USE_MKLDNN=ON" not in torch.__config__.show()


def test_a_graphics_card_is_told_where_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers are made up, for there is none here."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 90100)
    here.cache_clear()
    found = here("cuda")
    here.cache_clear()
    assert (found.gpu, found.gpu_capability, found.cuda, found.cudnn) == ("NVIDIA H100", "9.0", "12.6", "90100")
    assert "NVIDIA H100 (9.0), CUDA 12.6, cuDNN 90100" in str(found)
    assert not found.tf32, "products must not be rounded"
    assert found.cpu_capability == here().cpu_capability
    assert here().gpu == ""


def test_a_machine_comes_back_as_it_was(tmp_path: Path) -> None:
    assert Machine.of(json.loads(json.dumps(XEON.to_dict()))) == XEON
    assert Machine.of({**XEON.to_dict(), "colour": "grey"}) == XEON, "a later version may know more"
    told = str(XEON)
    assert told == "Xeon (avx2) · ATen AVX512 · oneDNN 3.12.0 brg_matmul:avx10_1_512_amx · mkl 2024.2"
    assert Machine.of(read(written(tmp_path, header=environment())).header["machine"]) == seen()


@pytest.mark.parametrize(
    ("wanted", "unmet"),
    [
        ({}, ""),
        ({"onednn_kernel": "*amx*", "cpu_capability": ["AVX2", "AVX512"]}, ""),
        ({"onednn_kernel": "*bf16"}, "onednn_kernel *bf16 (here brg_matmul:avx10_1_512_amx)"),
        ({"cpu_capability": ["DEFAULT", "AVX2"]}, "cpu_capability DEFAULT or AVX2 (here AVX512)"),
        ({"gpu": "*"}, "gpu * (here none was proved)"),
    ],
)
def test_conditions_name_what_they_miss(wanted: dict[str, Any], unmet: str) -> None:
    assert XEON.unmet(wanted) == unmet


def test_the_header_waits_for_the_proof(tmp_path: Path) -> None:
    session = session_of(report=tmp_path)
    session.take(Batch("item", 1, [], (), XEON))
    session.take(Batch("item", 1, [], (), Machine("another")))
    assert Machine.of(read(tmp_path / "record.ndjson").header["machine"]) == XEON
    assert session.results.notes == ["another process of this run proved another machine: another"]
    report, batch = SimpleNamespace(user_properties=[]), Batch("item", 1, [], (), XEON)
    batch.attach(report)
    assert Batch.detach(report) == batch
    assert not report.user_properties
