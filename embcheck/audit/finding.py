"""What an audit says: findings, notes, reasons why a law does not apply; and the register of its laws.

A law of the audit is a function of a `embcheck.audit.subject.Subject` with a sentence.  It returns findings and notes,
or raises `NotApplicable`.  What has one root cause is one finding: the laws come in their order, from what is there to what is
kept; the first that meets a cause reports it, and the others are named with it.  Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

#: The variants of a model: as its factory builds it, and with the tie of its configuration the other way round.
AS_BUILT, FLIPPED = "as built", "flipped"


class NotApplicable(Exception):
    """The law has nothing to judge in this model; the message says why."""


class Undecided(Exception):
    """The law can't be judged although it ought to be; the message says why."""


class Unbuilt(Exception):
    """There is no model to audit; the message is one line that says why."""


class Lost(Unbuilt):
    """Whether there is a model nobody knows: what would build it hangs, or took its process down."""


def told(error: BaseException) -> str:
    """An error in one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:200]}" if words else type(error).__name__


@dataclass(frozen=True)
class Finding:
    """A violation.  ``kind`` and ``where`` (a module's or parameter's path) name the root cause: those that share both are one."""

    kind: str
    where: str
    words: str
    script: str = ""
    confirmed: bool | None = None

    @property
    def cause(self) -> str:
        """What is one root cause."""
        return f"{self.kind}: {self.where}" if self.where else self.kind


#: What a law says: findings, and as texts what is worth knowing and no violation: a design choice, or what every model suffers.
Result = list[Finding | str]
Judge = Callable[[Any], Result]


@dataclass(frozen=True)
class AuditLaw:
    """A law of the audit: its sentence, the function that judges, and the variants of a model that it is asked of."""

    name: str
    sentence: str
    judge: Judge
    variants: tuple[str, ...] = (AS_BUILT,)


#: In the order in which they are judged: of two laws with one root cause the first reports it.
LAWS: dict[str, AuditLaw] = {}


def audit_law(sentence: str, *variants: str) -> Callable[[Judge], Judge]:
    """Registers a law under its function's name; by default it is asked of a model as built."""

    def register(judge: Judge) -> Judge:
        LAWS[judge.__name__] = AuditLaw(judge.__name__, sentence, judge, variants or (AS_BUILT,))
        return judge

    return register


@dataclass
class Judged:
    """What one law said of one variant: findings and notes, or why there are none."""

    law: str
    variant: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reason: str = ""
    failure: str = ""
    cpu: float = 0.0


#: What each kind of finding does to training or use, and how it is repaired.
ADVICE: dict[str, tuple[str, str]] = {
    "tie is missing": (
        "table and head are trained apart, in twice the memory",
        "assign head.weight = table.weight; in place of a head that is a Parameter itself compute with table.weight",
    ),
    "tie is undeclared": ("a change of either moves both", "give the head a Parameter of its own, or declare the tie"),
    "two Parameters over one memory": (
        "an optimizer steps the memory twice; a cast or a copy separates the two",
        "assign the Parameter itself, not its .data, a view or a new nn.Parameter of it",
    ),
    "not among the parameters": (
        "no optimizer trains it, .to() leaves it behind and state_dict() does not save it",
        "assign it as an attribute of a module, or put the modules into nn.ModuleList or nn.ModuleDict",
    ),
    "listed twice": ("an optimizer that is given the list steps it twice", "list each Parameter once"),
    "alias is lost": ("after this operation table and head are trained apart, silently", "restore the tie at its end"),
    "alias is made": (
        "what one of the two held is overwritten, and a checkpoint lacks a name that a new model expects",
        "assign to the second name only where the configuration ties it",
    ),
    "memory is shared": ("training the copy changes the original", "copy the Parameter in __deepcopy__"),
    "copy does not follow": (
        "the copy computes with a tensor that is not among its parameters: training it has no effect there",
        "look the weight up through the module at each forward, don't keep a reference or a closure",
    ),
    "original moves": ("training the copy changes the original", "hold nothing by reference that a copy shares"),
    "name is lost": ("a part of the model is gone after this operation", "keep every registered parameter"),
    "not restored": (
        "what was trained is lost when the model is loaded again, silently",
        "save and load it: register it, and don't list it among the keys to ignore or initialise it after loading",
    ),
    "load is refused": ("a saved model can't be loaded again", "save the names that are expected, aliases included"),
    "answers differ": (
        "the loaded model computes something else than the saved one, although all its parameters are equal",
        "register as a persistent buffer what the forward pass depends on, or compute it from the configuration",
    ),
    "copy stays behind": (
        "steps move the table, and what is computed with the copy stays as it was, silently",
        "compute with the weight itself at each forward: F.linear(hidden, table.weight); or say --expect untied",
    ),
    "gradient is not the sum": (
        "the weight is trained with a gradient that is not that of the loss",
        "let autograd accumulate; don't scale, double, replace or detach the gradient of a weight",
    ),
    "padding row gets gradient": ("lookups train the padding row", "pass padding_idx=self.padding_idx to F.embedding"),
    "another row is padding": (
        "lookups leave a row untrained that is not the padding row, and may train that which is",
        "pass the table's own: padding_idx=self.padding_idx to F.embedding",
    ),
    "padding row is not zero": (
        "until it is overwritten each padded position contributes a random vector",
        "zero the row after initialising: weight.data[padding_idx].zero_()",
    ),
    "padding row is NaN": (
        "a padded position makes losses and gradients NaN",
        "zero the row after initialising; don't divide rows by their norm, which is 0 there: F.normalize(weight, dim=1)",
    ),
    "state is missing": ("the optimizer does not train every parameter once", "give each Parameter to one group"),
    "not the row": (
        "the embedding is no lookup: its output is not its weight's row times a declared scale",
        "return F.embedding(ids, weight), and declare a scale as an attribute",
    ),
    "inputs_embeds differ": (
        "prompt tuning, attribution and generation from embeddings compute something else than ids do",
        "do after the lookup whatever is done to embeddings, on both ways",
    ),
    "old rows change": ("a resize loses what was learnt of the old tokens", "copy the old rows: new[:n] = old[:n]"),
    "resize freezes": (
        "what was trained before the resize is not trained after it, silently",
        "keep requires_grad: nn.Embedding.from_pretrained(weight, freeze=False)",
    ),
    "padding_idx changes": ("the padding row is trained, or another is not", "pass padding_idx to the new table"),
    "bias does not follow": ("the head fails, or new tokens have no bias that is trained", "resize the bias as well"),
    "size is not told": (
        "what reads the size (losses, generation, saving) works with the old one",
        "set num_embeddings, out_features and config.vocab_size to the new size",
    ),
    "head does not follow": (
        "the logits don't cover the new tokens: a loss on them fails or reads another row",
        "resize the head with the table, and return it from get_output_embeddings",
    ),
    "resize fails": (
        "the vocabulary can't be changed",
        "support it, or raise NotImplementedError, ValueError or TypeError before anything is changed",
    ),
    "forward fails": ("the model can't be used after this operation", "make forward read the new sizes"),
    "other values change": ("a resize changes what has nothing to do with it", "touch only the table and the head"),
    "input is changed": ("whoever passes the ids finds others afterwards", "clone before writing in place"),
    "weights are written": ("a forward pass in eval mode changes the model", "write only when training"),
    "cast is partial": ("a part of the model keeps its old dtype", "register every tensor as parameter or buffer"),
}


# -- root causes --------------------------------------------------------------------------------------------------------


#: Kinds that are one event when a program meets several at once: a tie, and so values, come out different.
STRUCTURE = {
    *("alias is lost", "alias is made", "old rows change", "other values change", "not restored", "name is lost"),
    *("load is refused", "answers differ", "head does not follow", "bias does not follow", "forward fails"),
    *("memory is shared", "copy does not follow", "original moves", "cast is partial", "state is missing"),
}
BEHAVIOUR = STRUCTURE | {"gradient is not the sum", "another row is padding", "inputs_embeds differ", "not the row"}
#: Kinds that are met first, and those that inherit them: in all laws after, or (named) in those that speak of the same names.
INHERITED = {
    "input is changed": BEHAVIOUR,
    "weights are written": BEHAVIOUR,
    "not among the parameters": BEHAVIOUR,
    "padding row is NaN": {*BEHAVIOUR, "padding row gets gradient", "padding row is not zero"},
    "copy stays behind": {"copy does not follow", "gradient is not the sum", "answers differ"},
    "copy does not follow": {"head does not follow", "forward fails"},
}
NAMED = {"tie is missing", "two Parameters over one memory"}
#: A law and those whose violation it can inherit: a model that a resize breaks does not survive a reload either.
FOLLOWS = {
    "a_resized_checkpoint_restores_the_model": ("growing_keeps_the_old_rows", "a_checkpoint_restores_the_model"),
    "shrinking_keeps_the_rows_left": ("growing_keeps_the_old_rows",),
    "a_checkpoint_restores_the_model": ("a_state_dict_restores_the_model",),
}


@dataclass
class Cause:
    """A root cause: the finding that tells of it, and the laws, each with a variant, that met it, the first one first."""

    finding: Finding
    met: list[tuple[str, str]] = field(default_factory=list)

    @property
    def also(self) -> list[str]:
        """The other laws that met it, with their variant where that is another than the first law's."""
        (first, variant), *rest = self.met
        names = [law if kind == variant else f"{law} ({kind})" for law, kind in rest]
        return [name for name in dict.fromkeys(names) if name != first]


def causes(judged: list[Judged]) -> list[Cause]:
    """The root causes of all findings, in the order of the laws."""
    found: dict[tuple[str, str], Cause] = {}
    for one in judged:
        for finding in together(one.findings):
            held = found.get((finding.kind, finding.where)) or _inherited(one, finding, list(found.values()))
            if held is None:
                held = found[finding.kind, finding.where] = Cause(finding)
            held.met.append((one.law, one.variant))
    return list(found.values())


def together(findings: list[Finding]) -> list[Finding]:
    """The findings of one law, those of structure as one: the first, which names the others."""
    structure = [finding for finding in findings if finding.kind in STRUCTURE]
    words = "; ".join(finding.words for finding in structure)
    first = [replace(finding, words=words) for finding in structure[:1]]
    return first + [finding for finding in findings if finding.kind not in STRUCTURE]


def _inherited(one: Judged, finding: Finding, found: list[Cause]) -> Cause | None:
    """The cause of a finding that follows from what another law found in the same variant."""
    for cause in found:
        kind, where = cause.finding.kind, cause.finding.where
        named = (finding.where and finding.where in cause.finding.words) or where in finding.words
        if finding.kind in INHERITED.get(kind, ()) or (kind in NAMED and named and finding.kind in BEHAVIOUR):
            return cause
    broken = [cause for cause in found if cause.finding.kind in STRUCTURE | {"size is not told"}]
    laws = FOLLOWS.get(one.law, ()) if finding.kind in STRUCTURE else ()
    return next((cause for law in laws for cause in broken if (law, one.variant) in cause.met), None)
