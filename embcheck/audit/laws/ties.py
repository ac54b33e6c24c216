"""Laws about which parameters are one."""

from __future__ import annotations

from typing import Any

from embcheck.audit.factory import fresh
from embcheck.audit.finding import AS_BUILT, FLIPPED, Finding, NotApplicable, Note, Undecided, audit_law
from embcheck.audit.program import named, one_memory_one_parameter, reads_only_parameters, same, tied_as_declared
from embcheck.audit.subject import Subject

Result = list[Finding | Note]


@audit_law("Table and head are one Parameter where that is declared, and two where it is denied.",
           variants=(AS_BUILT, FLIPPED))  # fmt: skip
def the_tie_is_as_declared(subject: Subject) -> Result:
    facts = subject.facts
    if facts.expected == "any":
        if not facts.head:
            raise NotApplicable("it has no head that was found")
        return _undeclared(subject)
    if not facts.pairs:
        if facts.expected == "tied":
            raise NotApplicable(f"{facts.said}, but it has no head with a row for each token")
        raise NotApplicable("it has no head of the table's shape")
    options: dict[str, Any] = {"pairs": facts.pairs, "expected": facts.expected, "said": facts.said}
    if subject.variant == FLIPPED:
        if subject.problems(tied_as_declared, **options):
            return [Note(f"design choice: {facts.said} has no effect, table and head stay "
                         + ("tied" if facts.tied else "apart"))]  # fmt: skip
        return []
    return [*subject.findings(tied_as_declared, **options)]


def _undeclared(subject: Subject) -> Result:
    """Where nothing says what table and head ought to be, a head that starts as a copy may be a forgotten tie.

    Raises:
        Undecided: for such a head, unless the user has said that either will do.
    """
    facts = subject.facts
    parameters = named(fresh(subject.source, varied=False))
    table, head = parameters.get(facts.table), parameters.get(facts.head)
    if table is None or head is None or table is head or head.dim() != 2:
        return []
    if not any(same(table.detach(), copy) for copy in (head.detach(), head.detach().T)):
        return []
    words = f"{facts.head} only starts as a copy of {facts.table}: the two are trained apart"
    if facts.said == "--expect any":
        return [Note(f"design choice: {words}")]
    raise Undecided(f"{words}, and nothing declares whether that is meant; say --expect tied or --expect untied")


@audit_law("No two Parameters share memory, and parameters() lists each once.", variants=(AS_BUILT, FLIPPED))
def one_memory_is_one_parameter(subject: Subject) -> Result:
    return [*subject.findings(one_memory_one_parameter)]


@audit_law("Every Parameter that the forward pass reads is among the model's parameters.")
def what_is_read_is_listed(subject: Subject) -> Result:
    subject.need(forward="")
    return [*subject.findings(reads_only_parameters)]
