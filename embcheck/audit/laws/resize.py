"""Laws about changing the number of tokens."""

from __future__ import annotations

from embcheck.audit.factory import fresh
from embcheck.audit.finding import AS_BUILT, FLIPPED, Finding, NotApplicable, Note, audit_law
from embcheck.audit.laws.reload import restored
from embcheck.audit.program import answer, named
from embcheck.audit.program_state import resized
from embcheck.audit.subject import Subject

Result = list[Finding | Note]


def _resized(subject: Subject, rows: int) -> Result:
    facts = subject.need(
        resizable="it has no resize_token_embeddings, or no single table that its getter returns", forward=""
    )
    model = fresh(subject.source, subject.variant)
    try:
        model.resize_token_embeddings(rows)
    except NotImplementedError as error:
        raise NotApplicable(f"it refuses to be resized: {' '.join(str(error).split())[:100]}") from error
    except Exception:
        pass  # the program tells of it
    before = named(fresh(subject.source, subject.variant))
    covers = facts.head in before and facts.rows in before[facts.head].shape
    return [*subject.findings(resized, table=facts.table, rows=rows, covers=covers)]


@audit_law("A resize to more tokens keeps every old row bit for bit; padding_idx stays, head and bias follow.",
           variants=(AS_BUILT, FLIPPED))  # fmt: skip
def growing_keeps_the_old_rows(subject: Subject) -> Result:
    return _resized(subject, subject.facts.rows + 3)


@audit_law("A resize to fewer tokens keeps every row that is left bit for bit; head and bias follow.")
def shrinking_keeps_the_rows_left(subject: Subject) -> Result:
    facts = subject.facts
    if facts.rows < 40:
        raise NotApplicable("its table is too small to lose rows")
    return _resized(subject, facts.rows - 5)


@audit_law("A resized model saves, loads and computes the same.", variants=(AS_BUILT, FLIPPED))
def a_resized_checkpoint_restores_the_model(subject: Subject) -> Result:
    facts = subject.need(resizable="it has no resize_token_embeddings, or no single table that its getter returns")
    model = fresh(subject.source, subject.variant)
    try:
        model.resize_token_embeddings(facts.rows + 3)
        if not facts.forward:
            answer(model, subject.inputs)
    except Exception as error:
        words = " ".join(str(error).split())[:100]
        raise NotApplicable(f"resized it can't be used: {type(error).__name__}: {words}") from error
    return restored(subject, "save_pretrained" if facts.pretrained else "state_dict", facts.rows + 3)
