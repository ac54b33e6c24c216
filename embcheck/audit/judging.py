"""What is done in a process of its own: a model is looked at, or judged by laws."""

from __future__ import annotations

import importlib
import os
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator

import torch

from embcheck.audit import hf, laws
from embcheck.audit.discovery import Facts, explored
from embcheck.audit.factory import Source, imported
from embcheck.audit.finding import AS_BUILT, LAWS, Judged, NotApplicable, Unbuilt, Undecided, told
from embcheck.audit.subject import Subject


def ready(source: Source, *, runs: bool = False) -> None:
    """Imports, once for all forks of this process, what a source needs; a factory only if it is known that it ``runs``."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    laws.load()
    if source["kind"] == "hf":
        hf.warm(source)
    elif runs:
        imported(source)
    importlib.import_module("torch._dynamo")  # which an optimizer imports at its first step


def looked_at(source: Source, expect: str, variant: str = AS_BUILT) -> Iterator[tuple[Source, Facts, float] | Unbuilt]:
    """The source that is settled, its model's facts, and seconds of CPU time; or why there is no model."""
    try:
        settled = hf.settle(source) if source["kind"] == "hf" and source["config"] is None else source
        yield settled, explored(settled, expect, variant), time.process_time()
    except Unbuilt as reason:
        yield reason
    except Exception as error:
        yield Unbuilt(f"looking at it failed: {_placed(error)}")


def each_judged(laws: Iterable[str], source: Source, facts: Facts, variant: str) -> Iterator[Judged]:
    """What laws say of a model, one after the other."""
    return (judged(law, source, facts, variant) for law in laws)


def judged(law: str, source: Source, facts: Facts, variant: str = AS_BUILT) -> Judged:
    """What a law says of a model, with the CPU time that it took."""
    one, started = Judged(law, variant), time.process_time()
    try:
        said = LAWS[law].judge(Subject(source, facts, variant))
        one.notes = [each for each in said if isinstance(each, str)]
        one.findings = [each for each in said if not isinstance(each, str)]
    except NotApplicable as reason:
        one.reason = str(reason)
    except (Undecided, Unbuilt) as reason:
        one.failure = str(reason)
    except BaseException as error:
        one.failure = _placed(error)
    one.cpu = time.process_time() - started
    return one


def _placed(error: BaseException) -> str:
    """An error in one line, with where it was raised."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{told(error)} ({os.path.basename(where.filename)}:{where.lineno})"
