"""Laws about what copies, casts, files and resizes keep of a model."""

from __future__ import annotations

import contextlib
import importlib.util
import pickle

from embcheck.audit.finding import AS_BUILT, FLIPPED, NotApplicable, Result, audit_law, told
from embcheck.audit.program import answer, has_hooks, named, partition
from embcheck.audit.program_state import assigned, cast, copied, reloaded, resized, twin_of
from embcheck.audit.subject import Subject

_MEMORY = "it has parameters without memory (meta)"
_RESIZES = "it has no resize_token_embeddings, or no single table that its getter returns"


def _copied(subject: Subject, how: str) -> Result:
    facts = subject.need(meta=_MEMORY)
    found = subject.findings(copied, how=how, table=facts.table, exact=facts.compares, trains=facts.trains)
    return [*found, *_hooks_left_out(subject, how)]


def _hooks_left_out(subject: Subject, how: str) -> Result:
    """The hooks of Parameters, which torch leaves out, unless the model registers them again."""
    model = subject.fresh()
    had = [name for name, first in partition(model).items() if name == first and has_hooks(named(model)[name])]
    twin = named(twin_of(model, subject.fresh, how)) if had else {}
    lost = [name for name in had if name in twin and not has_hooks(twin[name])]
    words = f"torch does this to every model: {how} leaves out the hooks of"
    return [f"{words} {', '.join(lost[:3])}; register them again on the copy"] if lost else []


def _restored(subject: Subject, how: str, rows: int | None = None) -> Result:
    facts = subject.need(meta=_MEMORY)
    return subject.findings(reloaded, how=how, rows=rows, exact=facts.exact and not facts.forward)


def _resized(subject: Subject, rows: int) -> Result:
    facts = subject.need(resizable=_RESIZES, forward="")
    before = named(subject.fresh())
    covers = facts.head in before and facts.rows in before[facts.head].shape
    return subject.findings(resized, table=facts.table, rows=rows, covers=covers)


@audit_law("A deep copy has the same ties, memory of its own, and follows its own table.")
def a_deep_copy_is_a_model_of_its_own(subject: Subject) -> Result:
    return _copied(subject, "copy.deepcopy")


@audit_law("A pickled model comes back with the same ties and follows its own table.")
def a_pickle_keeps_the_tie(subject: Subject) -> Result:
    try:
        pickle.dumps(subject.fresh())
    except Exception as error:
        raise NotApplicable(f"it can't be pickled: {told(error)}") from error
    return _copied(subject, "pickle")


@audit_law("A cast keeps the ties and reaches every parameter, and every tensor that the forward pass needs cast.")
def a_cast_keeps_the_tie(subject: Subject) -> Result:
    facts = subject.need(meta=_MEMORY)
    return subject.findings(cast, table=facts.table, exact=facts.compares)


@audit_law("A state_dict brings everything back: values, ties and answers.")
def a_state_dict_restores_the_model(subject: Subject) -> Result:
    results = _restored(subject, "state_dict")
    with contextlib.suppress(Exception):
        words = "torch does this to every model: load_state_dict(assign=True) and to_empty() untie"
        broken = [] if results else assigned(subject.fresh)
        results += [f"{words} {', '.join(broken[:3])}; tie again after them"] if broken else []
    return results


@audit_law("A saved checkpoint brings everything back: values, ties and answers.", AS_BUILT, FLIPPED)
def a_checkpoint_restores_the_model(subject: Subject) -> Result:
    if subject.facts.pretrained:
        return _restored(subject, "save_pretrained")
    if importlib.util.find_spec("safetensors") is None:
        raise NotApplicable("it has no save_pretrained, and safetensors is not installed")
    return _restored(subject, "safetensors")


@audit_law("A resize to more tokens keeps every old row bit for bit, and what learns; padding_idx stays, head and bias follow.",
           AS_BUILT, FLIPPED)  # fmt: skip
def growing_keeps_the_old_rows(subject: Subject) -> Result:
    return _resized(subject, subject.facts.rows + 3)


@audit_law("A resize to fewer tokens keeps every row that is left bit for bit, and what learns; head and bias follow.")
def shrinking_keeps_the_rows_left(subject: Subject) -> Result:
    rows = subject.need(resizable=_RESIZES).rows
    if rows < 2:
        raise NotApplicable("its table has no row to lose")
    return _resized(subject, rows - max(1, min(5, rows // 8)))


@audit_law("A resized model saves, loads and computes the same.", AS_BUILT, FLIPPED)
def a_resized_checkpoint_restores_the_model(subject: Subject) -> Result:
    facts = subject.need(resizable=_RESIZES)
    model = subject.fresh()
    try:
        model.resize_token_embeddings(facts.rows + 3)
        if not facts.forward:
            answer(model, subject.inputs)
    except Exception as error:
        raise NotApplicable(f"resized it can't be used: {told(error)}") from error
    return _restored(subject, "save_pretrained" if facts.pretrained else "state_dict", facts.rows + 3)
