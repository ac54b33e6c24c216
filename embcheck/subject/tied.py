"""A model whose embedding and head share one weight: tying, and its life."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from embcheck.core.declaration import FLAGS, Declaration, SubjectError
from embcheck.core.format import FORMATS
from embcheck.core.law import FAMILIES, Family, Judgement, accepts
from embcheck.core.outcome import Outcome
from embcheck.core.result import Difference, Finding
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


#: Flags of an embedding of which laws of tying speak, and torch's own defaults.
_DEFAULTS = {"padding_idx": None, "scale_grad_by_freq": False, "sparse": False}
#: Quotients are rounded: the laws of training speak of sums that are exact.
_BY_FREQUENCY = "the model sets scale_grad_by_freq=True itself, and the laws of training have no quotients"


def set_by_itself(models: list[Any], declared: Declaration, name: str) -> dict[str, Any]:
    """The flags with which models, of tables of several sizes, build their embedding, as it shows or as is declared.

    Raises:
        SubjectError: if the padding row is neither the same counted from the first row nor from the last; one line.
    """
    tables = [model.get_submodule(declared.table) for model in models]
    shown = {flag: getattr(tables[0], flag, usual) for flag, usual in _DEFAULTS.items()} | dict(declared.fixed)
    padding = [getattr(table, "padding_idx", None) for table in tables]
    if "padding_idx" in declared.fixed or len({*padding}) == 1:
        return shown
    rows = [len(table.weight) for table in tables]
    last = {None if row is None else row - count for row, count in zip(padding, rows, strict=True)}
    if len(last) > 1:
        told = " and ".join(f"{row} of {count} rows" for row, count in zip(padding, rows, strict=True))
        raise SubjectError(
            f"{name}: {declared.table}.padding_idx is {told}; expected the same row, counted from the first or from the last; "
            'if that can be had, declare it, such as fixed={"padding_idx": -1}'
        )
    return shown | {"padding_idx": last.pop()}


def ties(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """The laws of tying, and of its life, on a model whose embedding and head share one weight."""
    sizes = sizes_of(factory, declared)
    size = sizes[0]
    limits = limits_of(factory, declared, FLAGS["tied"], torch.nn.Embedding, size)
    taken, said = limits.taken, dict(limits.said)
    domain = replace(declared.domain, flags=tuple(sorted(taken)), refuses=limits.refuses)
    model = factory(*size)
    head = model.get_submodule(declared.head)
    biased = getattr(head, "bias", None) is not None

    facts = said, sorted(taken), (declared.table, declared.head)

    def tie(weight: torch.Tensor, bias: torch.Tensor | None, **flags: Any) -> tuple[torch.nn.Module, str, str]:
        return made(factory, *facts, weight, bias, flags), declared.table, declared.head

    def structure(weight: torch.Tensor, bias: Any, flags: dict[str, Any], from_head: bool) -> Any:
        return made(factory, *facts, weight, bias, flags)

    call = f"made({spelled(factory)}, {', '.join(map(repr, facts))}, weight, bias"
    paths = f"{declared.table!r}, {declared.head!r}"
    scripted(tie, factory, made, f"def tie(weight, bias, **flags):\n    return {call}, flags), {paths}\n")
    scripted(structure, factory, made, f"def structure(weight, bias, flags, from_head):\n    return {call}, flags)\n")
    TIES[name] = tie
    own = {} if "bias" in taken else {"bias": biased}
    itself = set_by_itself([factory(*each, **said) for each in sizes], declared, name)
    lacking = {flag: value for flag, value in itself.items() if flag not in taken}
    plain = fixed(declared, {**lacking, **own})
    if lost := _loss(lambda: factory(*size, **said), declared):
        yield from _untied(declared, name, *lost)
        return

    # What an optimizer refuses says nothing of the model.
    regular = then(plain, lambda case: None if case.refused else case)
    opened = then(plain, lambda case: case.but(from_head=False))
    training = FAMILIES["tied_training"]
    rounds = lacking.get("scale_grad_by_freq")
    yield absent(training, _BY_FREQUENCY) if rounds else sent(training, regular, ("tie", name), domain)
    STRUCTURES[name] = Structure(structure, {"E": (declared.table,), "H": (declared.head,)})
    yield sent(FAMILIES["tie_preservation"], opened, ("structure", name), domain)


def _loss(build: Callable[[], Any], declared: Declaration) -> tuple[str, str] | None:
    """When the pair is two Parameters, in words, and a dtype to which that happens; None if it stays one.

    A case converts the model to its dtype as soon as it is built.
    """

    def tied(model: Any) -> bool:
        same: bool = model.get_submodule(declared.table).weight is model.get_submodule(declared.head).weight
        return same

    if not tied(build()):
        return "as the model is built", "float32"
    for name in FORMATS:
        try:
            kept = tied(build().to(getattr(torch, name)))
        except Exception:  # each case says so
            continue
        if not kept:
            return f"after .to(torch.{name}), and one as the model is built", name
    return None


def _untied(declared: Declaration, name: str, when: str, dtype: str) -> Iterator[Family]:
    """The law that a pair breaks which is not tied when it is to be trained; of the others nothing can be asked."""
    reason = f"{declared.table}.weight and {declared.head}.weight are two Parameters {when}"
    family = sent(FAMILIES["tied_training"], lambda case: type(case)(tie=name, dtype=dtype), ("tie", name))
    family = quiet(family, lambda law: law.name == "tied_pair_is_one_parameter", reason)
    family.laws = [law if law.judge is accepts else replace(law, judge=_saying(when, law.judge)) for law in family.laws]
    yield family
    yield absent(FAMILIES["tie_preservation"], reason)


def _saying(when: str, judge: Judgement) -> Judgement:
    """A judgement whose difference says when it comes about."""

    def judged(case: Any, out: Outcome) -> Finding:
        found = judge(case, out)
        return replace(found, words=f"{found.words} {when}") if isinstance(found, Difference) else found

    return judged
