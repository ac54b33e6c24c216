"""Plants every fault into the specimen and audits it: each must be found, the specimen without one must be clean."""

from __future__ import annotations

from collections.abc import Callable

from embcheck.audit.faults import PLANTED
from embcheck.audit.processes import workers
from embcheck.audit.session import audited
from embcheck.audit.specimen import RIGHT, Specimen, Untied, target
from embcheck.core.verdict import Status


def main_selfcheck(count: int, limit: float, echo: Callable[[str], None]) -> int:
    """Prints a line for each fault; 0 if all were found."""
    planted = {target(cls): kinds for cls, kinds in PLANTED.items()}
    every = [*(target(cls) for cls in (Specimen, Untied, *RIGHT.values())), *planted]
    missed = 0
    with workers(count) as pool:
        for done in audited(pool, [{"kind": "factory", "target": each, "folder": ""} for each in every], "auto", limit):
            kinds, found = planted.get(done.subject), done.model.findings
            if kinds is None:
                right = done.model.status < Status.UNKNOWN and not done.model.unbuilt
            else:
                right = any(example.kind.partition(":")[0] in kinds for example in found)
            word = ("found" if right else "MISSED") if kinds else "clean" if right else "NOT CLEAN"
            said = "; ".join(f"{example.law}: {example.kind}" for example in found)
            echo(f"{word:9} {done.subject.partition(':')[2]}  [{said}]")
            missed += not right
    echo(f"{len(planted)} faults, {missed} missed or not clean")
    return int(missed > 0)
