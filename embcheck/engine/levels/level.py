"""CPU levels: what ATen and oneDNN may use at most, by environment variables, and what proves that they did.

Both libraries read their variable once, so a level is a process of its own.  ATen's levels are in small letters, oneDNN's in
capitals; a level caps one library and leaves the other as it is, and *lowest* caps both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from embcheck.core.facts import closest
from embcheck.core.machine import Machine

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
    """The levels of a list with commas between, or all.

    Raises:
        UnknownLevel: for a name that is none.
    """
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
