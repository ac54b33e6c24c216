"""What a run is: its settings, and what its verdicts add up to."""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from embcheck.core.facts import closest, grouped
from embcheck.core.item import PROFILES
from embcheck.core.ledger import SHIPPED
from embcheck.core.machine import Machine, seen
from embcheck.core.options import COMMAND, PYTEST, options_of
from embcheck.core.verdict import APPLIES, LEDGER, Counterexample, Statement, Status, Verdict, advised, merge_all
from embcheck.engine.levels.level import level_of
from embcheck.engine.source import digest
from embcheck.record.totals import cases_by_family

DEVICES = ("cpu",)
#: The options that are settings.
_SETTINGS = {name: option for name, option in options_of(PYTEST).items() if option.field}

#: The property of a test's report in which verdicts travel.
_VERDICTS = "embcheck verdicts"


class UsageError(ValueError):
    """Something asked for does not exist; the message says what was wrong and what would be right."""


def usable(device: str) -> bool:
    """Whether the installed torch can use a device beyond the CPU."""
    if device.partition(":")[0] != "cuda":
        return False
    # Asked of the driver itself, CUDA would forbid this process' forks to use it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch

    return torch.cuda.is_available()


#: Values of environment variables with which torch compiles, scripts or traces nothing.
_OFF = {"TORCHDYNAMO_DISABLE": "1", "TORCH_COMPILE_DISABLE": "1", "PYTORCH_JIT": "0"}
#: How the names of environment variables begin by which torch and its libraries are set.
_SETTING = ("ATEN_", "DNNL_", "GOMP_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTORCH_", "TORCH")
#: What is said first of a mode that people call otherwise.
_BY_OTHER_NAMES = {"compile": "torch.compile as it is by default is inductor; "}


@dataclass(frozen=True)
class Settings:
    seed: int = 0
    profile: str = "gate"
    device: str = "cpu"
    report: Path | None = None
    ledger: Path | None = None
    only_ledger: Path | None = None
    update_ledger: Path | None = None
    modes: str = ""
    baseline: Path | None = None
    witnesses: str = "in force"
    subject: str = ""
    shard: str = ""
    strict: bool = False
    last_failed: bool = False

    @property
    def ledgers(self) -> tuple[Path, ...]:
        """The files with what is known: the shipped one, or the one instead of it, and those that add to it."""
        updated = self.update_ledger if self.update_ledger is not None and self.update_ledger.exists() else None
        return tuple(path for path in (self.only_ledger or SHIPPED, self.ledger, updated) if path is not None)

    def checked(self) -> Settings:
        """The same settings.

        Raises:
            UsageError: for an unknown profile or mode, a device that this torch can't use, or a part of torch that is off.
        """
        off = [f"{name}={value}" for name, value in _OFF.items() if os.environ.get(name) == value]
        if off and not self.subject:
            raise UsageError(f"{off[0]} turns off a part of torch that laws are about; unset it")
        if self.profile not in PROFILES:
            raise UsageError(f"no profile {self.profile!r}; there are {', '.join(PROFILES)}")
        if self.device not in DEVICES and not usable(self.device):
            here = [*DEVICES, *(each for each in ("cuda",) if usable(each))]
            told = f"only {here[0]} is here" if len(here) == 1 else f"there are {' and '.join(here)}"
            raise UsageError(f"no device {self.device!r} to check; {told}")
        if self.modes not in ("", "all"):
            from embcheck.core.declaration import SubjectError
            from embcheck.modes.mode import MODES
            from embcheck.subject.collect import mode_named

            for name in self.modes.split(","):
                try:
                    mode_named(name)
                except SubjectError as error:
                    raise UsageError(str(error)) from None
                except KeyError:
                    begun = [mode for mode in MODES if mode.startswith(name)]
                    hint = closest(name, begun or MODES) or f"there are all, {', '.join(MODES)}"
                    raise UsageError(f"no mode {name!r}; {_BY_OTHER_NAMES.get(name, '')}{hint}") from None
        if self.shard:
            shard_of(self.shard)
        return self

    def rehearsed(self) -> str:
        """Has the subject built and called once in a child process, and makes it known to all; gives what is not asked of it.

        Raises:
            UsageError: for a subject that can't be.
        """
        if not self.subject:
            return ""
        from embcheck.core.declaration import VARIABLE, SubjectError
        from embcheck.runner.preflight import rehearse_apart

        try:
            told = rehearse_apart(self.subject)
        except SubjectError as error:
            raise UsageError(str(error)) from None
        os.environ[VARIABLE] = self.subject  # for this process, its workers and whatever they start
        return told

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """The settings among the values of options, by name; of a path that is empty there is none."""
        chosen: dict[str, Any] = {}
        for name, option in _SETTINGS.items():
            if name in values:
                value = values[name]
                chosen[option.field] = (Path(value) if value else None) if option.kind is Path else value
        return cls(**chosen)

    def as_texts(self) -> dict[str, str]:
        """As the record's header has them."""
        return {name: str(value) for name, value in vars(self).items() if value is not None}

    def as_arguments(self) -> list[str]:
        """The pytest options that give these settings."""
        given = {option: getattr(self, option.field) for option in _SETTINGS.values() if COMMAND in option.places}
        switches = [option.pytest for option, value in given.items() if option.kind is bool and value]
        return switches + [
            f"{option.pytest}={'' if value is None else value}"
            for option, value in given.items()
            if option.kind is not bool
        ]


def shard_of(text: str) -> tuple[int, int]:
    """The number of a shard, counted from 1, and of how many it is: ``2/4``.

    Raises:
        UsageError: for anything else.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"no shard {text!r}; expected k/N, such as 1/4, with k from 1 to N")
    return int(number), int(count)


@dataclass(frozen=True)
class Batch:
    """What one item hands to the controlling process: its verdicts, of how many items of its family it is one, and
    what the laws say.  What belongs to no item has none."""

    item: str
    items: int
    verdicts: list[Verdict]
    laws: Sequence[Statement] = ()
    #: what the process has proved of its machine, which each tells once
    machine: Machine | None = None

    def attach(self, node: Any) -> None:
        """Puts it where the controlling process finds it, whichever process runs the test ``node``."""
        node.user_properties.append((_VERDICTS, pickle.dumps(self)))

    @classmethod
    def detach(cls, report: Any) -> Batch | None:
        """The batch that a test's report carries, taken out so that no other reporter prints it."""
        for position, (name, value) in enumerate(report.user_properties):
            if name == _VERDICTS:
                del report.user_properties[position]
                found: Batch = pickle.loads(value)
                return found
        return None


def environment(machine: Machine | None = None) -> dict[str, Any]:
    """What a run depends on, for the record's header; of the machine only what needs no proof, if none is given."""

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "?"

    names = ("torch", "numpy", "hypothesis", "pytest", "pytest-xdist", "embcheck")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: installed(name) for name in names},
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(_SETTING)},
        "machine": (machine or seen()).to_dict(),
        "source": digest(),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


@dataclass
class Results:
    """The verdicts of a run as they come in, and what they add up to."""

    settings: Settings
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _done: dict[str, set[str]] = field(default_factory=dict)
    _whole: dict[str, int] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        self.verdicts += batch.verdicts
        for verdict in batch.verdicts[:1] if batch.item else ():
            self._done.setdefault(verdict.family, set()).add(batch.item)
            self._whole[verdict.family] = batch.items

    def settle(self) -> list[Verdict]:
        """One verdict for each law and mode; a law with an obligation that no case met is *unknown*.

        Obligations are only asked of torch's own layers (another subject need not have what they speak of) and of
        families of which every item ran, for else the user chose otherwise; never of a shard, but of what `merge` makes of all.
        """
        whole = {family for family, (done, all_of_it) in self.families.items() if done >= all_of_it}
        return settle(self.verdicts, () if self.settings.shard else whole)

    @property
    def families(self) -> dict[str, tuple[int, int]]:
        """Of each family how many items ran, and how many it has: shards of a run add up."""
        names = dict.fromkeys(verdict.family for verdict in self.verdicts)
        done = {name: len(self._done.get(name, ())) for name in names}
        # Each witness is an item of its own, of as many as were run.
        return {name: (ran, ran if name == LEDGER else self._whole.get(name, 1)) for name, ran in done.items()}

    @property
    def cases(self) -> int:
        """How many cases were judged (a case is judged by every law of its family, and counted once), without the witnesses."""
        return sum(cases_by_family(self.verdicts).values())

    @property
    def digest(self) -> str:
        """A fingerprint of all cases of the run, whoever ran them in which order; a further CPU level runs no others."""
        own = (verdict for verdict in self.verdicts if not level_of(verdict.device))
        keys = {(v.family, v.subject, v.mode, v.engine, v.digest) for v in own}
        return hashlib.blake2b(repr(sorted(keys)).encode(), digest_size=8).hexdigest()


#: The fingerprint of no case at all.
_NO_CASE = "0" * 16
#: Why a law is not applicable that gives no reason itself.
_NONE_OF_ITS_OWN = "not applicable: no case that was run is one that it speaks of"
_NONE_HERE = "not applicable: the profile has no such cases in this mode"


def settle(verdicts: list[Verdict], whole: Collection[str]) -> list[Verdict]:
    """One verdict for each law and mode; an obligation that no case met makes a law of a ``whole`` family unknown.

    A family of which this torch has nothing at all is not applicable, and owes nothing; what is not owed in one mode, since
    this release has it not, is owed in none.
    """
    merged = merge_all(verdicts)
    owing = {v.family for v in merged.values() if v.status > Status.NOT_APPLICABLE}.intersection(whole)
    met: dict[str, set[str]] = {}
    owed: dict[str, set[str]] = {}
    for verdict in merged.values():
        met.setdefault(verdict.law, set()).update(verdict.met)
        if verdict.must_cover:  # there is none where cases are not made to meet them
            owed.setdefault(verdict.law, {*verdict.must_cover}).intersection_update(verdict.must_cover)
    skipping = {verdict.family for verdict in merged.values() if len(verdict.reasons) > len(verdict.undecided)}
    settled = []
    for verdict in merged.values():
        missing = sorted(owed.get(verdict.law, set()).intersection(verdict.must_cover) - met[verdict.law])
        if missing == [APPLIES] and not verdict.cases and verdict.family in skipping:
            missing = []  # those that it speaks of are not applicable here: the reason is told where they were counted
        if verdict.family in owing and missing and verdict.subject == "torch":
            others = ", ".join(each for each in missing if each != APPLIES)
            reason = "no case was judged" if APPLIES in missing else f"no case met: {others}"
            status = max(verdict.status, Status.UNKNOWN)
            verdict = replace(verdict, status=status, reasons=(*verdict.reasons, reason))
        settled.append(verdict)
    return [
        replace(each, reasons=(_NONE_HERE if each.digest == _NO_CASE else _NONE_OF_ITS_OWN,))
        if each.status == Status.NOT_APPLICABLE and not each.reasons
        else each
        for each in unjudged(advised(settled), whole)
    ]


def unjudged(settled: list[Verdict], whole: Collection[str] | None = None) -> list[Verdict]:
    """The verdicts of a user's subject; of a family that has cases, of which not one could be judged, those are unknown that
    say why.

    A constructor that refuses all that it is given is not right for that.  A family is meant that ran as a ``whole`` (None:
    each did); one of which the subject has nothing has no cases, and owes nothing.
    """
    users = (v for v in settled if v.subject != "torch" and (whole is None or v.family in whole))
    owing = {
        key
        for key, found in grouped(users, lambda verdict: (verdict.subject, verdict.family)).items()
        if not any(verdict.cases for verdict in found)
        and any(verdict.digest not in ("", _NO_CASE) for verdict in found)
    }
    return [
        replace(verdict, status=max(verdict.status, Status.UNKNOWN), reasons=("no case was judged", *verdict.reasons))
        if (verdict.subject, verdict.family) in owing and verdict.reasons
        else verdict
        for verdict in settled
    ]


def examples_of(verdicts: Iterable[Verdict]) -> list[Counterexample]:
    """The counterexamples of settled verdicts: one for each law, case and kind, of the mode with the shortest script, naming all
    modes that show it."""
    # A ledger entry's witness shows what is known.
    every = (
        example for verdict in verdicts if verdict.status >= Status.VIOLATED for example in verdict.counterexamples
    )
    found = []
    for alike in grouped(every, lambda example: (example.law, example.case, example.kind)).values():
        shown = min(alike, key=lambda example: (not example.script, len(example.script)))
        others = tuple(mode for mode in dict.fromkeys(example.mode for example in alike) if mode != shown.mode)
        found.append(replace(shown, other_modes=others, in_baseline=all(example.in_baseline for example in alike)))
    return found


def nothing_judged(settled: Sequence[Verdict]) -> bool:
    """Whether there are laws, all of them not applicable: then nothing was found right."""
    laws = [verdict for verdict in settled if verdict.family != LEDGER]
    return bool(laws) and all(verdict.status == Status.NOT_APPLICABLE for verdict in laws)


def exit_code(verdicts: Iterable[Verdict], unaccounted: Collection[str] = ()) -> int:
    """0 if every law holds, is known or not applicable; 1 if one is violated or unknown, or an item gave no verdict."""
    return 1 if unaccounted or any(verdict.status >= Status.UNKNOWN for verdict in verdicts) else 0
