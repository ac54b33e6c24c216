"""Laws about what the forward pass computes."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.factory import fresh
from embcheck.audit.finding import Finding, NotApplicable, Note, audit_law
from embcheck.audit.program import answer
from embcheck.audit.program_state import untouched
from embcheck.audit.program_value import embeds_equal_ids, looks_up
from embcheck.audit.subject import Subject

Result = list[Finding | Note]


@audit_law("A forward pass in eval mode changes neither its inputs nor the model.")
def a_forward_pass_writes_nothing(subject: Subject) -> Result:
    subject.need(forward="")
    found = subject.findings(untouched)
    if found:
        return [*found]
    renormed = [path for path, module in fresh(subject.source, subject.variant).named_modules()
                if getattr(module, "max_norm", None) is not None]  # fmt: skip
    return [Note(f"{path} rescales the rows that it looks up, in eval mode too, as max_norm promises")
            for path in renormed]  # fmt: skip


@audit_law("Each embedding is the product of a one-hot vector with its weight, times the scale that it declares.")
def an_embedding_is_a_row(subject: Subject) -> Result:
    facts = subject.facts
    model = fresh(subject.source, subject.variant)
    results: Result = []
    judged, skipped = 0, []
    for path in facts.tables:
        module = model.get_submodule(path)
        plain = type(module).forward is torch.nn.Embedding.forward
        if module._forward_hooks or module._forward_pre_hooks:
            skipped.append(f"{path} has forward hooks, which may change its output")
        elif module.max_norm is not None:
            skipped.append(f"{path} rescales its rows (max_norm)")
        elif not plain and path != facts.path:
            skipped.append(f"{path} is a {type(module).__name__}, no plain table")
        else:
            judged += 1
            try:
                found = subject.findings(looks_up, path=path)
            except (NotApplicable, TypeError, RuntimeError, IndexError, ValueError) as error:
                judged -= 1
                skipped.append(f"{path} is a {type(module).__name__} that takes no bare ids ({type(error).__name__})")
                continue
            if found and not plain:
                results.append(Note(f"design choice: {path} is a {type(module).__name__}: {found[0].words}"))
            else:
                results += found
    if not judged:
        raise NotApplicable("; ".join(skipped) or "it has no nn.Embedding")
    return results


@audit_law("The rows of the ids given as inputs_embeds compute what the ids compute.")
def inputs_embeds_equal_input_ids(subject: Subject) -> Result:
    facts = subject.need(
        forward="",
        embeds="its forward pass takes no inputs_embeds, or its getter returns no single table",
        table="it has no table",
    )
    subject.need(exact="its logits differ between two calls")
    model = fresh(subject.source, subject.variant)
    rows = model.get_input_embeddings()(subject.inputs["input_ids"])
    rest = {name: value for name, value in subject.inputs.items() if name != "input_ids"}
    try:
        answer(model, {**rest, "inputs_embeds": rows})
    except Exception as error:
        words = " ".join(str(error).split())[:120]
        raise NotApplicable(f"it refuses inputs_embeds alone: {type(error).__name__}: {words}") from error
    if others := _other_readers(subject):
        raise NotApplicable(f"ids are read by {others} as well")
    return [*subject.findings(embeds_equal_ids, table=facts.table)]


class _Lookups(torch.overrides.TorchFunctionMode):
    """Which tables are asked for rows by the ids themselves, or by something else of their shape."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, torch.Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") == "embedding" and isinstance(args[0], torch.Tensor):
            self.asked.append((id(args[1]), args[0]))
        return func(*args, **(kwargs or {}))


def _other_readers(subject: Subject) -> str:
    """Tables besides that of the tokens whose ids change when the tokens do, so that rows can't replace the ids."""
    model = fresh(subject.source, subject.variant)
    ids = subject.inputs["input_ids"]
    seen = []
    for moved in (ids, ids.flip(1)):
        with _Lookups() as lookups:
            answer(model, {**subject.inputs, "input_ids": moved})
        seen.append(lookups.asked)
    table = id(model.get_input_embeddings().weight)
    names = {
        id(module.weight): path for path, module in model.named_modules() if isinstance(module, torch.nn.Embedding)
    }
    found = []
    for (one, before), (_, after) in zip(*seen, strict=False):
        if one != table and (before.shape != after.shape or not torch.equal(before, after)):
            found.append(names.get(one, "another table"))
    return ", ".join(dict.fromkeys(found))
