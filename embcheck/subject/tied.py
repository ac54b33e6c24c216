"""A model whose embedding and head share one weight: tying, and its life."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from embcheck.core.declaration import FLAGS, Declaration
from embcheck.core.law import FAMILIES, Family
from embcheck.families.tie_preservation.programs import STRUCTURES, Structure
from embcheck.families.tied_training.training_steps import TIES
from embcheck.subject.building import sizes_of, spelled
from embcheck.subject.fitting import absent, fixed, quiet, scripted, sent, then
from embcheck.subject.limits import limits_of


def made(
    build: Callable[..., Any],
    said: dict[str, Any],
    taken: list[str],
    parts: tuple[str, str],
    weight: Any,
    bias: Any,
    flags: Any,
) -> Any:
    given = said | {flag: value for flag, value in (flags | {"bias": bias is not None}).items() if flag in taken}
    model = build(weight.shape[0], weight.shape[1], **given).to(weight.dtype)
    table, head = (model.get_submodule(part) for part in parts)
    # Of whatever class they are: by this a training step finds them.
    table.__dict__["part_of_a_tie"], head.__dict__["part_of_a_tie"] = "table", "head"
    table.weight.data = weight.detach()
    if bias is not None:
        head.bias.data = bias.detach()
    return model


def ties(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """The laws of tying, and of its life, on a model whose embedding and head share one weight."""
    size = sizes_of(factory, declared)[0]
    limits = limits_of(factory, declared, FLAGS["tied"], torch.nn.Embedding, size)
    taken, said = limits.taken, dict(limits.said)
    domain = replace(declared.domain, flags=tuple(sorted(taken)), refuses=limits.refuses)
    model = factory(*size)
    head = model.get_submodule(declared.head)
    biased = getattr(head, "bias", None) is not None

    facts = said, sorted(taken), (declared.table, declared.head)

    def tie(weight: torch.Tensor, bias: torch.Tensor | None, sparse: bool) -> tuple[torch.nn.Module, str, str]:
        return made(factory, *facts, weight, bias, {"sparse": True} if sparse else {}), declared.table, declared.head

    def structure(weight: torch.Tensor, bias: Any, flags: dict[str, Any], from_head: bool) -> Any:
        return made(factory, *facts, weight, bias, flags)

    call = f"made({spelled(factory)}, {', '.join(map(repr, facts))}, weight, bias"
    sparse = f'{call}, {{"sparse": True}} if sparse else {{}}), {declared.table!r}, {declared.head!r}'
    scripted(tie, factory, made, f"def tie(weight, bias, sparse):\n    return {sparse}\n")
    scripted(structure, factory, made, f"def structure(weight, bias, flags, from_head):\n    return {call}, flags)\n")
    TIES[name] = tie
    own = {} if "bias" in taken else {"bias": biased}
    defaults = {"padding_idx": None, "scale_grad_by_freq": False, "sparse": False}
    lacking = {flag: value for flag, value in defaults.items() if flag not in taken}
    plain = fixed(declared, {**lacking, **own})
    if head.weight is not model.get_submodule(declared.table).weight:
        yield from _untied(declared, name)
        return

    # What an optimizer refuses says nothing of the model.
    regular = then(plain, lambda case: None if case.refused else case)
    opened = then(plain, lambda case: case.but(from_head=False))
    yield sent(FAMILIES["tied_training"], regular, ("tie", name), domain)
    STRUCTURES[name] = Structure(structure, {"E": (declared.table,), "H": (declared.head,)})
    yield sent(FAMILIES["tie_preservation"], opened, ("structure", name), domain)


def _untied(declared: Declaration, name: str) -> Iterator[Family]:
    """The law that a pair breaks which was never tied; of the others nothing can be asked."""
    reason = f"{declared.table}.weight and {declared.head}.weight are two Parameters as the model is built"
    family = sent(FAMILIES["tied_training"], lambda case: type(case)(tie=name), ("tie", name))
    yield quiet(family, lambda law: law.name == "tied_pair_is_one_parameter", reason)
    yield absent(FAMILIES["tie_preservation"], reason)
