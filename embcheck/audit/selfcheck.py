"""Plants every fault into the specimen and audits it: each must be found, the specimen without one must be clean."""

from __future__ import annotations

from collections.abc import Callable

from embcheck.audit import faults  # noqa: F401  (which it plants)
from embcheck.audit.processes import workers
from embcheck.audit.right import RIGHT
from embcheck.audit.session import audited
from embcheck.audit.specimen import PLANTED, Specimen, Untied
from embcheck.core.verdict import Status
from embcheck.record.audited import Model


def fine(model: Model, kinds: tuple[str, ...] | None) -> bool:
    """Whether a fault of one of these kinds was found, or nothing was in a specimen without one (None)."""
    if kinds is None:
        return model.status < Status.UNKNOWN and not model.unbuilt
    return any(example.kind.partition(":")[0] in kinds for example in model.findings)


def main_selfcheck(count: int, limit: float, echo: Callable[[str], None]) -> int:
    """Prints a line for each fault; 0 if all were found."""
    planted = {fault.target: fault for fault in PLANTED.values()}
    unharmed: tuple[type[Specimen], ...] = (Specimen, Untied, *RIGHT)
    clean = [f"{cls.__module__}:{cls.__name__}.factory" for cls in unharmed]
    sources = [{"kind": "factory", "target": target, "folder": ""} for target in [*clean, *planted]]
    missed = 0
    with workers(count) as pool:
        for done in audited(pool, sources, "auto", limit):
            fault = planted.get(done.subject)
            right = fine(done.model, fault.kinds if fault else None)
            word = ("found" if right else "MISSED") if fault else "clean" if right else "NOT CLEAN"
            said = "; ".join(f"{example.law}: {example.kind}" for example in done.model.findings)
            echo(f"{word:9} {done.subject.partition(':')[2]}  [{said}]")
            missed += not right
    echo(f"{len(planted)} faults, {missed} missed or not clean")
    return int(missed > 0)
