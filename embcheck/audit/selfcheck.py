"""Plants every fault into the specimen and audits it: each must be found, the specimen without one must be clean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embcheck.audit import faults
from embcheck.audit.client import Listed, Template
from embcheck.audit.many import audited
from embcheck.audit.right import RIGHT
from embcheck.audit.session import Audit
from embcheck.audit.specimen import PLANTED, Planted, Specimen, Untied


@dataclass(frozen=True)
class Result:
    """What an audit made of a planted fault (None: of a clean specimen)."""

    fault: Planted | None
    audit: Audit

    @property
    def fine(self) -> bool:
        """Whether the fault was found, or nothing was where there is none."""
        failures = [one.failure for one in self.audit.judged if one.failure]
        if self.fault is None:
            return not self.audit.roots and not failures and not self.audit.unbuilt
        return any(cause.finding.kind in self.fault.kinds for cause in self.audit.roots)


def results(names: list[str] | None, workers: int, limit: float) -> Any:
    """The result of each fault, and of the clean specimens first."""
    faults.load()
    chosen = [PLANTED[name] for name in names] if names is not None else list(PLANTED.values())
    by_target = {fault.target: fault for fault in chosen}
    right: tuple[type[Specimen], ...] = (Specimen, Untied, *RIGHT)
    clean = [f"{cls.__module__}:{cls.__name__}.factory" for cls in right]
    sources = [{"kind": "factory", "target": target, "folder": ""} for target in [*clean, *by_target]]
    template = Template(limit)
    try:
        _, laws = template.prepare(sources[0])
    finally:
        template.close()
    for done in audited(sources, list(map(Listed._make, laws)), workers, limit):
        yield Result(by_target.get(done.subject), done)


def main_selfcheck(workers: int, limit: float, echo: Callable[[str], None]) -> int:
    """Prints a line for each fault; 0 if all were found."""
    missed = found = 0
    for result in results(None, workers, limit):
        name = result.fault.name if result.fault else result.audit.subject.partition(":")[2]
        causes = [f"{cause.law}: {cause.finding.cause}" for cause in result.audit.roots]
        if result.fault is None:
            echo(f"{'clean' if result.fine else 'NOT CLEAN':9} {name}  {'; '.join(causes)}")
        else:
            echo(f"{'found' if result.fine else 'MISSED':9} {name}  {result.fault.sentence}  [{'; '.join(causes)}]")
            found += result.fine
        missed += not result.fine
    echo(f"{found} faults found, {missed} missed or not clean")
    return int(missed > 0)
