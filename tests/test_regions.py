"""The ledger's regions are not blind: of each entry a second fault is seen there, of another difference or of the same kind."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from functools import partial
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from embcheck.core.axes import parse
from embcheck.core.law import Family
from embcheck.core.ledger import SHIPPED, Entry, load, read
from embcheck.core.result import Difference, Violated
from embcheck.core.wrong_results.judgement import INSTEAD, NUMERIC, is_known, misnamed, observation
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from embcheck.engine.tally import Tallies
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families

FAMILIES = load_families()
LEDGER = load(SHIPPED, torch.__version__, date.today())
Program = Callable[[], Mapping[str, Any]]
Fault = Callable[[Program], Mapping[str, Any]]


def violated(family: Family, case: Any, fault: Fault | None = None) -> set[str]:
    """The laws that a case violates outside of the ledger, or leaves unknown, with a fault in what comes out."""
    mode = MODES[family.modes[0]]

    def function(program: Any, **arguments: Any) -> Mapping[str, Any]:
        run = partial(mode.function, program, **arguments)
        return run() if fault is None else fault(run)

    tallies = Tallies(family, replace(mode, function=function), LEDGER)
    tallies(type(case)(*case))
    return {tally.law.name for tally in tallies.each if tally.violations or tally.unknown}


#: Nothing comes out, or words, or an error that torch never raises.
FAULTS: tuple[Fault, ...] = (
    lambda run: dict.fromkeys(run()),
    lambda run: {name: f"a second fault in {name}" for name in run()},
    Mock(side_effect=BufferError("a second fault")),
)


def home(entry: Entry) -> Family | None:
    """The family in whose first mode an entry's witness shows, unless it takes a process of its own."""
    case = entry.case
    for family in FAMILIES.values():
        here = isinstance(case, family.space.case_type) and not family.forks and not family.absent
        if here and any(entry.concerns(law.name, family.modes[0], "cpu") for law in family.laws):
            try:
                family.plan(case)
            except KeyError:
                continue
            return family
    return None


SHOWN = {entry.name: family for entry in LEDGER.entries if not entry.excluded and (family := home(entry)) is not None}


def test_most_entries_are_tried() -> None:
    assert len(SHOWN) > 0.7 * sum(entry.runs_on("cpu") for entry in LEDGER.entries)
    assert all(entry.kind != "*" for entry in read(SHIPPED))


@pytest.mark.parametrize("entry", [e for e in LEDGER.entries if e.name in SHOWN], ids=lambda entry: entry.name)
def test_a_second_fault_is_seen_in_a_region(entry: Entry) -> None:
    family, case = SHOWN[entry.name], entry.case
    mine = {law.name for law in family.laws if entry.speaks_of(law.name)}
    assert not violated(family, case)
    seen = set().union(*(violated(family, case, fault) for fault in FAULTS))
    assert seen if entry.name in ONE_BIT else mine & seen, "the laws that it speaks of are blind"


#: Their laws read a single observation that is true or false: what is another difference, other laws see.
ONE_BIT = ("parameter-list-grows-by-what-it-refuses", "parameter-dict-keeps-the-keys-it-refuses")


# -- what comes out instead -------------------------------------------------------------------------------------------

#: Entries that say of an observation that anything may come out, and why there is no more to say.
ANYTHING = {
    "fused-flat-memory": "what lies between and behind the elements of a parameter is read and overwritten",
    "fused-sgd-half-vectors": "a momentum is read from memory behind its buffer",
    "ensemble-of-tied-models-on-meta": "a product with a weight on meta is what memory contained",
    "functional-call-of-a-shared-module": "outputs and steps of a model that has two tables after any sequence of operations",
    "functional-call-of-a-shared-module-changed-later": "the table and gradients of such a model, which are any as well",
    "rows-in-pieces-are-misread": "what a mask over another axis makes of rows depends on how DTensor shards each use",
    "weight-norm-frozen-removal-in-outputs": "outputs of a model that has lost a Parameter before any sequence of operations",
    "products-with-one-column": "what lies between the elements of a column is multiplied",
    "cuda-renorm-takes-strides-for-widths": "rows are scaled by a norm of what lies between them, too",
    "cuda-renorm-takes-powers-of-negative-numbers": "rows are scaled by any factor, or not",
    "cuda-renorm-scales-repeatedly": "rows are scaled as often as threads meet",
    "cuda-sparse-step-ignores-strides": "other elements and what lies between them are changed",
    "cuda-sparse-step-of-strided-table": "as above",
    "cuda-sparse-step-of-tied-table": "as above",
    "cuda-sparse-step-of-converted-table": "as above",
    "cuda-sparse-gradient-into-zeros": "as above",
    "cuda-weight-norm-in-single": "weights and gradients of any case, off by 3e-8",
    "cuda-weight-norm-of-tied-table": "as above",
    "cuda-average-of-modules-in-single": "averages of any tree, off by 3e-8",
}
#: Cases that show a wrong number, or one beside right ones, where the witness does not.
SHOWING = {
    "functional-call-of-a-shared-module": (
        "TiePreservationCase(structure='shared_module', first='called_by_name', layout='column_slice')"
    ),
    "renorm-limit-below-zero": "MaxNormCase(num_embeddings=14, embedding_dim=3, indices='permutation', shape=(2, 14), "
    "max_norm=-1.0, norm_type=0.5, dtype='float64', values='mixed', route='plain', seed=3)",
    "clip-norm-inf-of-nothing": "ClipAverageScaleCase(kind=1e999, foreach=True, strict=True, hollow=True, dtype='float16')",
    "vmap-padding-of-other-tables": "TransformCase(num_embeddings=3, embedding_dim=2, transform='vmap_backward', shape=(4,), "
    "padding_idx=0, mapped=('weight', 'indices'), indices='cycle')",
    "vmap-padding-of-other-tables-by-autograd": "TransformCase(num_embeddings=3, embedding_dim=2, transform='vmap_value', "
    "shape=(4,), padding_idx=0, mapped=('weight', 'indices'), indices='cycle', given='trains')",
    "share-memory-of-sparse-gradients": "ModuleTraversalCase(tree='head_first', convert='half', swapped=True, grads='sparse')",
}
#: Entries after which an optimizer goes on from another state: of its steps another law has the formula, or none.
OTHER_STEPS = {
    *("nesterov-foreach-accumulates", "lbfgs-tensor-rate-aliased", "lbfgs-tensor-rate-aliased-in-half"),
    "cuda-nesterov-accumulates",
    *("muon-divides-its-momentum-in-groups", "reload-casts-state", "reload-casts-state-to-double"),
    *("plateau-shared-tensor-rate", "dcp-reading-steps-the-optimizer", "dcp-read-state-is-a-step-ahead"),
    *("dcp-thawed-parameters-start-anew", "converted-checkpoint-starts-anew", "dcp-empty-state-resumed-by-places"),
}


def numeric(entry: Entry) -> bool:
    """Whether an entry excuses differences whose kind does not say what came out."""
    return any(kind.strip().partition(":")[0] in NUMERIC for kind in entry.kind.split(","))


def texts(entry: Entry) -> list[str]:
    return [entry.instead] if isinstance(entry.instead, str) else list(entry.instead.values())


WIDE = [entry for entry in read(SHIPPED) if numeric(entry) and not entry.excluded]


def test_every_wrong_number_is_said() -> None:
    """Of a case that is never executed nothing comes out; of every other entry's it is said what."""
    assert len(WIDE) > 80
    assert [entry.name for entry in WIDE if not entry.instead] == []
    assert {entry.name for entry in WIDE if "anything" in texts(entry)} == set(ANYTHING)
    assert {entry.name for entry in WIDE if "other steps" in texts(entry)} == OTHER_STEPS


def differences(entry: Entry, case: Any) -> Iterator[Difference]:
    """How an entry's laws fail on a case in ways that it speaks of."""
    family = SHOWN[entry.name]
    mode = MODES[family.modes[0]]
    laws = [law for law in family.laws if entry.concerns(law.name, mode.name, "cpu")]
    # Kinds that say nothing themselves of what came out.
    kinds = {kind for kind in map(str.strip, entry.kind.split(",")) if kind.partition(":")[0] in NUMERIC}
    for result in evaluate(family, mode, case, laws, Execution("cpu")):
        if isinstance(result, Violated):
            yield from (each for each in result.difference.apart() if each.kind in kinds)


def otherwise(found: Difference) -> Iterator[Difference]:
    """Other differences of the same kind in the same observation: other values, more elements, another parameter's."""
    if found.elements is None:
        yield from (replace(found, got=got) for got in other_values(found.got))
        return
    got, differ, place = found.elements.got, found.elements.differ, found.elements.place
    special = not np.isfinite(got[differ]).all()
    everywhere = np.ones_like(differ)
    noise = np.linspace(1, 2, got.size).reshape(got.shape)
    values = [np.full(got.shape, got[differ][0])] if special else [got * 3 + 1, got + 1000 * noise, 0.375 * noise]
    for each in values:
        yield replace(found, elements=found.elements._replace(got=each, differ=differ))
        yield replace(found, elements=found.elements._replace(got=each, differ=everywhere))
    for member in "01":
        yield replace(found, elements=found.elements._replace(place=re.sub(r"\d+", member, place)))


WORDS = "a second fault"


def other_values(value: Any) -> list[Any]:
    """Other values of the same sort."""
    if isinstance(value, bool):
        return ["neither"]
    if isinstance(value, int):
        return [value + 1000, -1000]
    if isinstance(value, str):
        return [f"{value} and {WORDS}", WORDS]
    return [type(value)([*value, 1000]), type(value)([*value, WORDS]), type(value)(WORDS for _ in value)]


TRIED = [entry for entry in LEDGER.entries if entry.name in SHOWN and numeric(entry)]


@pytest.mark.parametrize("entry", TRIED, ids=lambda entry: entry.name)
def test_a_second_fault_of_the_same_kind_is_no_known_one(entry: Entry) -> None:
    case = parse(SHOWING.get(entry.name, entry.witness))
    told = list(differences(entry, case))
    assert told
    assert all(is_known(entry.instead, case, each) for each in told)
    for each in told:
        if free(entry, observation(each)) or determined(each):
            continue
        assert not all(is_known(entry.instead, case, other) for other in otherwise(each)), f"anything as {each.path}"


def free(entry: Entry, name: str) -> bool:
    """Whether an entry says of an observation that nothing can be said of it."""
    if isinstance(entry.instead, str):
        return False
    return any(fnmatchcase(name, each.strip()) and text in ("anything", "other steps")
               for names, text in entry.instead.items() for each in names.split(","))  # fmt: skip


def determined(found: Difference) -> bool:
    """Whether all elements are NaN or infinite already, as the kind of difference says: there is no second fault."""
    return found.elements is not None and bool(
        found.elements.differ.all() and not np.isfinite(found.elements.got).any()
    )


@pytest.mark.parametrize("entry", [e for e in TRIED if isinstance(e.instead, dict)], ids=lambda entry: entry.name)
def test_what_is_known_of_one_observation_is_not_known_of_another(entry: Entry) -> None:
    if "*" in entry.instead:
        return
    for each in differences(entry, entry.case):
        elsewhere = Difference(each.kind, 'seen["a second one"]', each.got, each.expected, each.words)
        assert not is_known(entry.instead, entry.case, elsewhere)


def test_names_are_checked() -> None:
    assert misnamed("zero, cut short") is None
    assert misnamed({"weights": "zero", "count": "= 2", "raised": "in ['', 'KeyError']"}) is None
    assert misnamed("zeros") == "zeros"
    assert misnamed({"count": "= 2 +"}) == "= 2 +"
    assert misnamed({"count": "in nothing"}) == "in nothing"
    assert all(judgement.__doc__ for judgement in INSTEAD.values())


def test_literals_have_a_type() -> None:
    def known(wanted: str, got: Any) -> bool:
        return is_known({"count": wanted}, None, Difference("value", 'seen["count"]', got, 1, "another"))

    assert known("= 2", 2)
    assert not known("= 1", True)
    assert known("in [1, 2]", [2, 2])
    assert not known("in [1, 2]", [2, 3])
    assert not known("in [1, 2]", [])
