"""CPU levels: what ATen and oneDNN may use at most, by environment variables, and what proves that they did.

Both libraries read their variable once, so a level is a process of its own.  ATen's levels are in small letters, oneDNN's in
capitals; a level caps one library and leaves the other as it is, and *lowest* caps both.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from embcheck.core.facts import closest
from embcheck.core.item import ENGINES
from embcheck.core.machine import Machine, flags_of, seen
from embcheck.core.typed import built
from embcheck.core.verdict import Statement, Status, Verdict
from embcheck.record.store import failure_id

ATEN, ONEDNN = "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"
#: The variables by which a user may have capped a library; the first that is set counts.
_SET_BY = {ATEN: (ATEN,), ONEDNN: (ONEDNN, "DNNL_MAX_CPU_ISA")}
_AVX512 = ("avx512f", "avx512bw", "avx512vl", "avx512dq")
_AMX = ("amx_tile", "amx_int8", "amx_bf16")
#: The levels of ATen and of oneDNN: the CPU flags without which their kernels would end the process, and the levels right below
#: them; the order is partial.
_LEVELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "default": ((), ()),
    "avx2": (("avx2", "fma"), ("default",)),
    "avx512": ((*_AVX512, "fma"), ("avx2",)),
    "SSE41": (("sse4_1",), ()),
    "AVX": (("avx",), ("SSE41",)),
    "AVX2": (("avx2",), ("AVX",)),
    "AVX2_VNNI": (("avx_vnni",), ("AVX2",)),
    "AVX2_VNNI_2": (("avx_vnni", "avx_vnni_int8", "avx_ne_convert"), ("AVX2_VNNI",)),
    "AVX512_CORE": (_AVX512, ("AVX2",)),
    "AVX512_CORE_VNNI": (("avx512_vnni",), ("AVX512_CORE",)),
    "AVX512_CORE_BF16": (("avx512_bf16",), ("AVX512_CORE_VNNI",)),
    "AVX10_1_512": (("avx512_bf16", "avx512_fp16"), ("AVX512_CORE_BF16", "AVX2_VNNI")),
    "AVX10_1_512_AMX": (("avx512_fp16", *_AMX), ("AVX10_1_512",)),
    "AVX10_1_512_AMX_FP16": (("amx_fp16",), ("AVX10_1_512_AMX",)),
    "AVX10_2": (("avx10_2",), ("AVX10_1_512", "AVX2_VNNI_2")),
    "AVX10_2_AMX_2": (("avx10_2", "amx_avx512"), ("AVX10_2", "AVX10_1_512_AMX_FP16")),
}  # fmt: skip
#: Other names of oneDNN's levels, which it takes, and gives its kernels.
_ALSO = {"AVX512_CORE_FP16": "AVX10_1_512", "AVX512_CORE_AMX": "AVX10_1_512_AMX"}
_ALSO["AVX512_CORE_AMX_FP16"] = "AVX10_1_512_AMX_FP16"
LOWEST = "lowest"
#: Before a level's name, in the device that a verdict names.
AT = " at "

NAMES = (*_LEVELS, LOWEST)


class UnknownLevel(ValueError):
    """A level that nobody knows; the message names those that there are."""


@dataclass(frozen=True)
class Level:
    name: str
    environment: Mapping[str, str]


def named(text: str) -> tuple[Level, ...]:
    """The levels of a list with commas between, or all; see `level` for what it raises."""
    names = NAMES if text == "all" else tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    return tuple(map(level, names))


def level(name: str) -> Level:
    """The level of a name.

    Raises:
        UnknownLevel: if there is none.
    """
    known = _ALSO.get(name, name)
    if known == LOWEST:
        return Level(LOWEST, {ATEN: "default", ONEDNN: "SSE41"})
    if known in _LEVELS:
        return Level(known, {ATEN if known.islower() else ONEDNN: known})
    hint = closest(name, NAMES) or f"there are all, {', '.join(NAMES)}"
    raise UnknownLevel(f"no CPU level {name!r}; {hint}")


def below(name: str) -> frozenset[str]:
    """A level and all of the same library that are below it."""
    return frozenset({name}).union(*map(below, _LEVELS[name][1]))


def lacking(wanted: Level, machine: Machine, flags: Iterable[str], environ: Mapping[str, str]) -> str:
    """Why a level can't be asked for here, in words; empty if it can.

    ``flags`` are what the CPU says that it has; a level above what the user's own variables allow can't be asked for.
    """
    if machine.arch not in ("x86_64", "AMD64"):
        return f"there is no level to choose on {machine.arch}"
    needed = {flag for value in wanted.environment.values() for each in below(value) for flag in _LEVELS[each][0]}
    missing = sorted(needed.difference(flags))
    if missing:
        return f"this CPU has no {', '.join(missing)}"
    for variable, value in wanted.environment.items():
        limit = next((environ[name] for name in _SET_BY[variable] if environ.get(name)), "")
        known = limit if variable == ATEN else _ALSO.get(limit.upper(), limit.upper())
        # Of a limit that is none the library takes no notice.
        if known in _LEVELS and known.islower() == value.islower() and value not in below(known):
            return f"it is above {variable}={limit}, which was set"
    return ""


def unproved(wanted: Level, machine: Machine, kernels: Mapping[str, str]) -> tuple[str, str]:
    """What a process that asked for a level proved otherwise: why the level is not applicable here, and why nothing that was
    judged in it can be believed; of both at most one is said.

    ``kernels`` are oneDNN's implementations of products, by dtype.
    """
    asked = wanted.environment.get(ATEN, "")
    used = machine.cpu_capability.lower()
    if asked and used != asked:
        if used in below(asked):
            return f"torch uses {used} at most here", ""
        return "", f"torch uses {used or 'what it does not say'}, and {asked} was asked for"
    allowed = wanted.environment.get(ONEDNN)
    for dtype, name in kernels.items() if allowed else ():
        found = isa_of(name)
        if found and found not in below(allowed or ""):
            return "", f"oneDNN multiplies {dtype} by {name}, and {allowed} was asked for"
    return "", ""


def isa_of(kernel: str) -> str:
    """The level of oneDNN's that a kernel's name tells; empty if it tells none."""
    text = kernel.rpartition(":")[2].upper()
    known = _ALSO.get(text, text)
    return known if known in _LEVELS else ""


def evidence(machine: Machine, kernels: Mapping[str, str]) -> str:
    """What a process proved, in words; that oneDNN was not used decides nothing, and is said."""
    told = [f"{dtype} {name}" for dtype, name in kernels.items() if name]
    return f"ATen {machine.cpu_capability}; oneDNN {', '.join(told) if told else 'multiplied nothing'}"


def level_of(device: str) -> str:
    """The level that a verdict's device names; empty for the run's own."""
    return device.partition(AT)[2]


def without_level(device: str) -> str:
    """A verdict's device without the level."""
    return device.partition(AT)[0]


# -- the lowest level beside a run: one more process, which judges a small deck while the workers judge the rest --------


#: Profiles of which it takes less than a tenth.
_PROFILES = ("gate", "full", "deep")
#: The families whose kernels the levels choose: products, lookups, bags, and optimizers in one kernel.
DECK = ("conversion", "lookup", "embedding_bag", "tied_training")
#: What a level is judged by of which nothing comes back.
ANSWERS = Statement("level_is_judged", "levels", "The process of a CPU level comes to its end and tells its verdicts.")


@dataclass(frozen=True)
class Swept:
    """What a level's process told; ``words`` say what it proved, or why nothing of it can be believed."""

    level: str
    words: str
    machine: Machine = field(default_factory=Machine)
    verdicts: tuple[Verdict, ...] = ()
    laws: tuple[Statement, ...] = ()


class Beside:
    """The lowest level of a run; ``absent`` says why there is none, and is None where a run has none to begin with."""

    def __init__(self, *, profile: str, seed: int, ledgers: tuple[str, ...], torch_alone: bool) -> None:
        """``torch_alone``: the run checks torch itself, in its own modes and on the CPU, and is no later shard of another."""
        self.level = level(LOWEST)
        self._asked: dict[str, Any] = {"seed": seed, "ledgers": ledgers}
        self._process: subprocess.Popen[str] | None = None
        self.absent: str | None = None
        self.due = torch_alone and profile in _PROFILES
        if self.due:
            self.absent = lacking(self.level, seen(), flags_of(), os.environ)
            if all(os.environ.get(name) == value for name, value in self.level.environment.items()):
                self.absent = "the run itself is at the lowest level"

    @property
    def words(self) -> str:
        """What is asked for, or why nothing is."""
        asked = " ".join(f"{name}={value}" for name, value in self.level.environment.items())
        return f"not applicable: {self.absent}" if self.absent else asked

    def start(self, items: Iterable[str], python: Sequence[str] = ()) -> None:
        """Starts it, once, for those of its families of which every engine was selected; ``python`` is what runs it, if that
        is not the interpreter."""
        if not self.due or self.absent or self._process is not None:
            return
        parts = (item.partition("::") for item in items)
        selected = {(PurePosixPath(path).stem, test.partition("[")[0]) for path, _, test in parts}
        whole = [name for name in DECK if {(f"test_{name}", f"test_{engine}") for engine in ENGINES} <= selected]
        if whole:
            self.launch(whole, python)

    def launch(self, families: Sequence[str], python: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [*(python or (sys.executable,)), "-m", "embcheck.engine.levels.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **self.level.environment},
        )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({**self._asked, "families": families}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is gone, which `result` tells

    def result(self) -> Swept | None:
        """What it told, once it has come to its end; None if there was none."""
        if self._process is None:
            return None
        said, _ = self._process.communicate()
        try:
            told = json.loads(said)
        except ValueError:
            doubt = f"its process gave no answer (exit status {self._process.returncode})"
            lost = Verdict(ANSWERS.law, "levels", "torch", "eager", "levels", Status.UNKNOWN, reasons=(doubt,))
            return Swept(LOWEST, f"unknown: {doubt}", verdicts=(placed(lost, doubt),), laws=(ANSWERS,))
        machine = Machine.of(told["machine"])
        absent, doubt = unproved(self.level, machine, told["kernels"])
        if absent:
            return Swept(LOWEST, f"not applicable: {absent}", machine)
        proof = evidence(machine, told["kernels"])
        verdicts = tuple(placed(Verdict.from_dict(verdict), doubt) for verdict in told["verdicts"])
        laws = tuple(built(Statement, law) for law in told["laws"])
        return Swept(LOWEST, f"unknown: {doubt} ({proof})" if doubt else proof, machine, verdicts, laws)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def placed(verdict: Verdict, doubt: str = "") -> Verdict:
    """A verdict of the level's process, as one about the level: its device names it; *unknown* if there is a doubt."""
    device = f"cpu{AT}{LOWEST}"
    examples = tuple(
        replace(each, device=device, id=failure_id(each.law, each.subject, each.mode, device, each.case))
        for each in verdict.counterexamples
    )
    found = replace(verdict, device=device, must_cover=(), counterexamples=examples)
    if doubt and doubt not in found.reasons and found.status > Status.NOT_APPLICABLE:
        found = replace(found, status=max(found.status, Status.UNKNOWN), reasons=(*found.reasons, doubt))
    return found
