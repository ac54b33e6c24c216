"""Laws about the row of the padding token: what it starts with, and what trains it."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from embcheck.audit.discovery import LOOKUPS, said_by
from embcheck.audit.finding import Finding, NotApplicable, Result, audit_law, told
from embcheck.audit.laws.values import no_table, of_each
from embcheck.audit.program import ending, ids_in, moves_row, named, partition, through_hooks
from embcheck.audit.program_value import asked, gradient_is_the_sum, padding_is_a_number, part, rows_of_padding
from embcheck.audit.subject import Subject


@audit_law(
    "The padding row of every table is zero in a model that transformers initialises; in others another value is noted, "
    "and NaN is found."
)
def the_padding_row_starts_at_zero(subject: Subject) -> Result:
    facts, model = subject.facts, subject.fresh(varied=False)
    told = _told_otherwise(subject, model)
    if not facts.padded and not told:
        raise NotApplicable("no table has a padding_idx")
    table, head = named(model).get(facts.table), named(model).get(facts.head)
    modules = {path: part(model, path) for path in facts.padded}
    tied = [path for path, module in modules.items() if head is not None and module.weight is head is table]
    free = [path for path in facts.padded if path not in tied]
    results: Result = subject.findings(padding_is_a_number, varied=False, tables=facts.padded)
    unfit = {found.where for found in results if isinstance(found, Finding)}
    free = [path for path in free if path not in unfit]
    if subject.source["kind"] == "hf":  # nothing is loaded, and PreTrainedModel._init_weights zeroes the row
        results += subject.findings(rows_of_padding, varied=False, tables=free)
    else:  # whose value may be chosen or loaded, as nn.Embedding says: "can be updated to another value"
        meant = "padded positions look that up; if it is not meant, zero the row after initialising"
        results += [f"{words}: {meant}" for _, _, words in subject.problems(rows_of_padding, varied=False, tables=free)]
    results += told
    words = "is the padding token's row of the head too, and starts nonzero"
    for path in (path for path in tied if path not in unfit):
        row = modules[path].padding_idx
        if bool(modules[path].weight[row].any()):
            results.append(f"design choice: row {row} of {path} {words}")
    return results


def _told_otherwise(subject: Subject, model: Any) -> Result:
    """Another padding token than the table's in the configuration, an attribute of the model or a table of the same shape."""
    table, padding = subject.facts.table, subject.facts.padding
    config: Any = getattr(model, "config", None)
    if callable(getattr(config, "get_text_config", None)):
        config = config.get_text_config()
    weight = named(model).get(table)
    # A configuration that embcheck made names a padding token whatever the architecture does with it.
    lacks = padding is None and weight is not None and weight.requires_grad and subject.source["kind"] != "hf"
    places = (("config.pad_token_id", config), ("pad_token_id", model), ("padding_idx", model))
    for place, of in places:
        said = said_by(of, place.removeprefix("config."))
        if not isinstance(said, int) or isinstance(said, bool):
            continue
        if (lacks and not _keeps(weight, said)) if padding is None else padding != said:
            has = f"{table} has no padding_idx" if lacks else f"the padding_idx of {table} is {padding}"
            return [f"{place} is {said}, but {has}: lookups of the padding token train row {said}"]
    return _told_by_a_table(model, subject.facts.tables, weight)


def _told_by_a_table(model: Any, paths: list[str], weight: Any) -> Result:
    """A table that is trained and has no padding_idx, where one of the same shape has: the tokens' or another."""
    modules = {f"{path}.weight": part(model, path) for path in paths}
    alike = {n: m for n, m in modules.items() if weight is not None and m.weight.shape == weight.shape}
    padded = [(n, m) for n, m in alike.items() if m.padding_idx is not None and m.weight.requires_grad]
    if not padded:
        return []
    (name, first), held = padded[0], {id(m.weight) for _, m in padded}
    row = first.padding_idx
    free = [(n, m.weight) for n, m in alike.items() if m.weight.requires_grad and id(m.weight) not in held]
    lacking = [n for n, other in free if not _keeps(other, row)]
    if not lacking:
        return []
    words = f"{lacking[0]} has no padding_idx, but {name}, of the same size, has {row}"
    return [f"{words}: lookups of the padding token train row {row}"]


def _keeps(weight: Any, row: int) -> bool:
    """Whether lookups can't train a row: its weight has none of the number, or hooks that set its gradient to zero."""
    if not 0 <= row < len(weight):
        return True
    with contextlib.suppress(LookupError):
        return bool(through_hooks(list((weight._backward_hooks or {}).values()), weight)[0][row].all())
    return False


@audit_law("No lookup trains the padding row of any table.")
def lookups_leave_the_padding_row(subject: Subject) -> Result:
    facts = subject.need(forward="", untrained="")
    tables = _other_tables(subject)
    if facts.table and facts.padding is not None:
        tables = {facts.table: facts.padding, **tables}
    if not tables:
        raise NotApplicable("the table has no padding_idx" if facts.table else no_table(subject))

    return of_each(tables, lambda name: _of_padding(subject, name, tables[name]))


def _of_padding(subject: Subject, name: str, row: int) -> Result:
    """What is found of a table with inputs that ask for its padding row, and for that of the tokens what moves the row."""
    facts = subject.facts
    subject.learning(subject.fresh(), name)
    places = _asking(subject, name, row)
    found = subject.findings(gradient_is_the_sum, table=name, padding=row, asking=places)
    if name in facts.likely and "gradient is not the sum" in [each.kind for each in found]:
        of_others = subject.problems(gradient_is_the_sum, table=name, padding=row)
        if "gradient is not the sum" in [kind for kind, _, _ in of_others]:  # which is no word about lookups of padding
            raise NotApplicable(f"the gradient of {name} is wrong without padding ids, too")
    if name != facts.table:
        return found
    # Weight decay leaves a row that starts at zero where it is; a head that starts at zero gives no gradient.
    runs = (("its gradient", 0.0, subject.fresh), ("weight decay", 0.5, functools.partial(subject.fresh, varied=False)))
    inputs = ending(subject.inputs, places, row)
    if movers := [
        words for words, decay, build in runs if moves_row(build, inputs, name, row, decay, facts.transposed)
    ]:
        tied = " (design choice: the row is tied to the head)" if facts.tied else ""
        found.append(f"row {row} of {name} is moved by {' and '.join(movers)}{tied}")
    return found


def _asking(subject: Subject, name: str, row: int) -> list[int]:
    """Which of the inputs' tensors of ids make lookups of a table ask for a row more often, if it is their last id.

    Raises:
        NotApplicable: if no lookup asks for it.
    """
    places: list[int] = []
    often, reason = 0, "none of its inputs makes a lookup ask for the padding row"
    for place in (None, *range(len(ids_in(subject.inputs)))):
        tried = places if place is None else [*places, place]
        try:
            count = asked(subject.fresh, ending(subject.inputs, tried, row), name, row)
        except LookupError as known:
            reason = str(known)
        except Exception as error:
            reason = f"its forward pass refuses padding ids: {told(error)}"
        else:
            places, often = (tried, count) if count > often else (places, often)
    if not often:
        raise NotApplicable(reason)
    return places


def _other_tables(subject: Subject) -> dict[str, int]:
    """The other weights that are trained and have a padding row, of which all their modules say the same."""
    model = subject.fresh()
    parameters, first = named(model), partition(model)
    names = {id(parameters[name]): name for name in first.values()}
    looked_up = {id(part(model, path).weight) for path in subject.facts.tables}
    said: dict[str, set[int | None]] = {}
    for module in model.modules():
        if isinstance(module, LOOKUPS) and id(module.weight) in looked_up & set(names):
            said.setdefault(names[id(module.weight)], set()).add(module.padding_idx)
    others = {name: rows.pop() for name, rows in said.items() if len(rows) == 1 and parameters[name].requires_grad}
    table = first.get(subject.facts.table)
    return {name: row for name, row in others.items() if row is not None and name != table}
