"""Laws about copies, pickles and casts."""

from __future__ import annotations

import pickle

from embcheck.audit.factory import fresh
from embcheck.audit.finding import Finding, NotApplicable, Note, audit_law
from embcheck.audit.program import cast, copied
from embcheck.audit.subject import Subject

Result = list[Finding | Note]


def _copied(subject: Subject, how: str) -> Result:
    facts = subject.facts
    if facts.meta:
        raise NotApplicable("it has parameters without memory (meta)")
    exact = facts.exact and not facts.forward and bool(facts.table)
    return [*subject.findings(copied, how=how, table=facts.table, exact=exact, trains=facts.trains)]


@audit_law("A deep copy has the same ties, memory of its own, and follows its own table.")
def a_deep_copy_is_a_model_of_its_own(subject: Subject) -> Result:
    return _copied(subject, "copy.deepcopy")


@audit_law("A pickled model comes back with the same ties and follows its own table.")
def a_pickle_keeps_the_tie(subject: Subject) -> Result:
    try:
        pickle.dumps(fresh(subject.source, subject.variant))
    except Exception as error:
        words = " ".join(str(error).split())[:120]
        raise NotApplicable(f"it can't be pickled: {type(error).__name__}: {words}") from error
    return _copied(subject, "pickle")


@audit_law("A cast keeps the ties and reaches every parameter.")
def a_cast_keeps_the_tie(subject: Subject) -> Result:
    facts = subject.facts
    if facts.meta:
        raise NotApplicable("it has parameters without memory (meta)")
    return [*subject.findings(cast, table=facts.table, exact=facts.exact and not facts.forward and bool(facts.table))]
