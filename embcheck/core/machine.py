"""The machine that a verdict was given on: kernels are chosen by the CPU, so the same torch may be right on one only.

What the hardware says that it has proves nothing, for environment variables cap it and libraries choose: what was *proved*
is what torch and oneDNN say that they use, in the process that judges.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from embcheck.core.typed import built

#: Instruction sets for which kernels differ, as /proc/cpuinfo names them.
_SETS = (
    *("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16"),
    *("asimd", "sve", "sve2", "bf16", "sme"),
)
#: Environment variables that choose kernels: how many of them are kept is another matter.
_CHOOSING = re.compile(r"(ATEN_CPU|ONEDNN|DNNL|MKL|OPENBLAS)_(?!\w*CACHE_CAPACITY)\w+")


@dataclass(frozen=True)
class Machine:
    """What a process runs on.

    The first five are what the system says: ``isa`` names the instruction sets that matter, ``caps`` the environment
    variables that choose kernels.  The others were proved in the process, and are empty where nothing was:
    ``onednn_kernel`` is the implementation that multiplied two bfloat16 matrices, ``blas`` the library of float32 products.
    """

    cpu: str = ""
    arch: str = ""
    isa: tuple[str, ...] = ()
    cores: int = 0
    caps: tuple[str, ...] = ()
    cpu_capability: str = ""
    onednn: str = ""
    onednn_kernel: str = ""
    blas: str = ""
    threads: int = 0
    gpu: str = ""
    gpu_capability: str = ""
    tf32: bool = False
    cuda: str = ""
    cudnn: str = ""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Machine:
        """The machine that a record's header tells of; what this version does not know is left out.

        Raises:
            Malformed: if something is of another type.
        """
        known = {field.name for field in fields(cls)}
        return built(cls, {name: value for name, value in built(dict[str, Any], told).items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        sets = f" ({', '.join(self.isa)})" if self.isa else ""
        proved = [
            f"ATen {self.cpu_capability}" if self.cpu_capability else "",
            " ".join(("oneDNN", self.onednn, self.onednn_kernel or "(not used)")) if self.onednn else "",
            self.blas,
            f"{self.gpu} ({self.gpu_capability}), CUDA {self.cuda}, cuDNN {self.cudnn}" if self.gpu else "",
            "TF32" if self.tf32 else "",
        ]
        return " · ".join(part for part in (f"{self.cpu}{sets}", *proved, *self.caps) if part)

    def unmet(self, wanted: Mapping[str, Any]) -> str:
        """Which of some conditions this machine does not meet, in words; empty if it meets all.

        A condition is a pattern for one of the facts in `PROVED`, or a list of patterns of which one must fit.
        """
        return ", ".join(
            f"{conditions({name: pattern})} (here {getattr(self, name) or 'none was proved'})"
            for name, pattern in wanted.items()
            if not any(getattr(self, name) and fnmatchcase(getattr(self, name), each) for each in _patterns(pattern))
        )


#: The facts that a condition may speak of.
PROVED = ("cpu_capability", "onednn", "onednn_kernel", "blas", "gpu", "gpu_capability", "cuda", "cudnn")


def conditions(wanted: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {' or '.join(_patterns(pattern))}" for name, pattern in wanted.items())


def _patterns(wanted: Any) -> list[str]:
    return list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]


_CPUINFO = Path("/proc/cpuinfo")


def _told(cpuinfo: Path) -> dict[str, str]:
    """What the system says of its first processor."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = re.findall(r"^([\w ]+?)\s*:[ \t]*(.*)$", text, re.MULTILINE)
    return {name: value.strip() for name, value in reversed(pairs)}


def flags_of(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """The instruction sets that the CPU says that it has."""
    told = _told(cpuinfo)
    return frozenset(f"{told.get('flags', '')} {told.get('Features', '')}".split())


def seen(cpuinfo: Path = _CPUINFO) -> Machine:
    """What the system says of itself, without torch: nothing of it is proved."""
    told, flags = _told(cpuinfo), flags_of(cpuinfo)
    part = " ".join(told[name] for name in ("CPU implementer", "CPU part") if name in told)  # all that Arm tells
    cpu = told.get("model name") or platform.processor() or " ".join((platform.machine(), part)).strip()
    return Machine(
        cpu=cpu,
        arch=platform.machine(),
        isa=tuple(name for name in _SETS if name in flags),
        cores=os.cpu_count() or 1,
        caps=tuple(f"{name}={value}" for name, value in chosen().items()),
    )


def chosen() -> dict[str, str]:
    """The environment variables that choose kernels."""
    return {name: value for name, value in sorted(os.environ.items()) if _CHOOSING.fullmatch(name)}


def promised() -> str:
    """What of embcheck is not available here, in words; empty on Linux on x86-64 and aarch64, where all is promised."""
    if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64"):
        return ""
    missing = [] if hasattr(os, "fork") else ["fork (crashes are not isolated)"]
    missing += [] if importlib.util.find_spec("fcntl") else ["flock (a report's folder is not locked)"]
    words = f"not available: {', '.join(missing)}" if missing else "all is available"
    return f"embcheck is made for Linux on x86-64 and aarch64; on {sys.platform} {platform.machine()} {words}"


@lru_cache
def here(device: str = "cpu") -> Machine:
    """The machine as this process uses it.

    The first call multiplies two small matrices, which settles what ATen and oneDNN choose for the rest of the process.
    """
    import torch

    config = torch.__config__.show()
    patterns = r"(?:MKL-DNN|oneDNN) v([\d.]+)", r"Math Kernel Library Version ([\d.]+)", r"BLAS_INFO=(\w+)"
    onednn, mkl, blas = (next(iter(re.findall(pattern, config)), "") for pattern in patterns)
    proved = replace(
        seen(),
        # Older releases call it otherwise.
        cpu_capability=torch.backends.cpu.get_cpu_capability().replace("NO AVX", "DEFAULT"),
        onednn=onednn,
        onednn_kernel=kernel("bfloat16"),
        blas=f"mkl {mkl}" if mkl else blas,
        threads=torch.get_num_threads(),
    )
    if not device.startswith("cuda"):
        return proved
    return replace(
        proved,
        gpu=torch.cuda.get_device_name(device),
        gpu_capability=".".join(map(str, torch.cuda.get_device_capability(device))),
        tf32=bool(torch.backends.cuda.matmul.allow_tf32),
        cuda=str(torch.version.cuda or ""),
        cudnn=str(torch.backends.cudnn.version() or ""),
    )


def kernel(dtype: str) -> str:
    """The name of oneDNN's implementation of a product ``(32, 33) @ (33, 48)``; empty if it is not used."""
    import torch

    if not torch.backends.mkldnn.is_available() or sys.platform == "win32":
        return ""
    a, b = (torch.ones(size, 33, dtype=getattr(torch, dtype)) for size in (32, 48))
    try:
        with _printed() as lines, torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON), torch.no_grad():
            torch.nn.functional.linear(a, b)
    except OSError:  # there is no standard output
        return ""
    found = re.findall(r"exec,cpu,(?:matmul|inner_product),([^,]+),", lines())
    return found[-1] if found else ""


@contextmanager
def _printed() -> Iterator[Any]:
    """What the process writes to its standard output meanwhile, C's part of it too: a function that gives the text."""
    text = ""
    flush = ctypes.CDLL(None).fflush
    if sys.stdout is not None:
        sys.stdout.flush()
    flush(None)
    held = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield lambda: text
        finally:
            flush(None)
            os.dup2(held, 1)
            os.close(held)
            file.seek(0)
            text = file.read().decode(errors="replace")
