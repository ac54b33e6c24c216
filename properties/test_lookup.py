"""Lookup: embedding(i) = one_hot(i) @ W = Linear without bias on one_hot(i), for every index, table and spelling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from embcheck import oracle
from embcheck.case import Case
from embcheck.comparison import described, every, is_false, is_true, refuses, same, unwritten
from embcheck.declaration import is_subject
from embcheck.law import Family, Plan
from embcheck.layout import row_major
from embcheck.lookup import table
from embcheck.lookup.aim import aimed_product
from embcheck.lookup.entry import ENTRIES, REFUSALS, flags_of, is_looked_up
from embcheck.lookup.past import HISTORIES, LEARNING, PASTS, past_cases
from embcheck.lookup.program import forward
from embcheck.lookup.received import which_row
from embcheck.mathematics import MATHEMATICS
from embcheck.outcome import Outcome
from embcheck.result import UNASKED, Difference, Finding
from embcheck.space import Space


def plan(case: Case) -> Plan:
    entry = ENTRIES[case.entry]
    options = {
        "build": entry.build,
        "history": PASTS[case.history],
        "flags": flags_of(case, entry),
        "requires_grad": case.requires_grad,
    }
    return Plan(forward, {"weight": case.weight_input, "indices": case.index_input}, options, case.threads)


def canonical(case: Case) -> Case | None:
    fitted = table.canonical(case)
    if fitted is None:
        return None
    entry = ENTRIES[fitted.entry]
    if entry.product and fitted.num_embeddings == 0:
        return None  # one_hot takes num_classes=0 for "not given"
    changes: dict[str, Any] = {name: None for name in ("padding_idx",) if name not in entry.flags}
    if entry.product:
        # A product with one_hot spreads NaN and infinity over a column: that has a law of its own.
        changes |= {"scale_grad_by_freq": False, "sparse": False}
        if fitted.values == "special":
            changes["values"] = "fingerprint"
        if fitted.num_embeddings * fitted.numel > 1 << 18:
            changes["entry"] = "functional"
    if fitted.index_layout == "expanded" and fitted.history == "indices_changed":
        changes["history"] = "fresh"
    if fitted.layout == "expanded":
        changes |= {"values": "fingerprint", "layout": "column_slice"}
    sparse_scaled = fitted.sparse and fitted.scale_grad_by_freq  # has no backward
    if fitted.stray is not None or fitted.num_embeddings == 0 or (sparse_scaled and fitted.history in LEARNING):
        changes["history"] = "fresh"
    return fitted.but(**changes)


def scope() -> Iterator[Case]:
    every_entry = (case for entry in ENTRIES for case in table.shape_cases(entry=entry))
    strays = (
        Case(rows, 2, "cycle", shape, stray=stray, entry=entry, seed=seed)
        for entry in ENTRIES
        for rows in (1, 2, 3)
        for seed, shape in enumerate(((), (1,), (3,), (2, 2), (1, 2, 2)))
        for stray in table.STRAY_AXIS[1:]
    )
    narrow = (Case(2, 2, "cycle", (3,), stray=stray, index_dtype="int32") for stray in table.STRAY_AXIS[1:])
    sized = chain(table.coincident_cases(), table.size_cases())
    found = chain(table.small_cases(), every_entry, strays, narrow, past_cases(), sized)
    return (case for case in map(canonical, found) if case)


AXES = table.AXES | {
    "values": ("fingerprint", "small", "real", "special"),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "requires_grad": (True, False),
    "entry": tuple(ENTRIES),
    "history": tuple(HISTORIES),
    "threads": (1, 2),
    "stray": table.STRAY_AXIS,
}

#: Modes that record backward before they run forward.
RECORD_BACKWARD = ("aot", "aot_eager", "aot_decomposed", "inductor", "inductor_static")


def without_backward(case: Case, mode: str) -> str | None:
    """What is sparse and scaled can be looked up, but has no backward that could be recorded."""
    if (
        mode not in RECORD_BACKWARD
        or case.refused
        or not (case.sparse and case.scale_grad_by_freq and case.requires_grad)
    ):
        return None
    return "it records backward first, which torch refuses: 'scale_grad_by_freq not supported with sparse gradients'"


lookup = Family(
    "lookup",
    Space(
        Case,
        {name: values for name, values in AXES.items() if name != "stray"},
        canonical,
        scope,
        table.landmarks,
        flags=("entry", "padding_idx", "scale_grad_by_freq", "sparse", "requires_grad", "dtype", "index_dtype"),
        base={"values": "special"},
        draw=lambda draws: canonical(table.threshold_case(draws, AXES)),
        smaller=table.smaller_tables,
        aim=aimed_product,
        aims=0.5,
    ),
    plan,
    modes=("eager", "no_grad", "inference"),
    call="table",
    refused=lambda case: case.refused,
    outside=without_backward,
)


def is_copy(case: Case) -> bool:
    return not ENTRIES[case.entry].product


def is_product(case: Case) -> bool:
    return ENTRIES[case.entry].product


@lookup.law(
    "embedding(i) = W[i], bit for bit.",
    source="nn.Embedding: a simple lookup table",
    obliges={"empty", "zero_width", "last_row", "numel>3072", "index_dtype=int32", "values=special", "repeated", "rank>=4",
             "dtype=float16", "dtype=bfloat16", "dtype=float64", "padding_hit", "num_embeddings>2000"},
    when=is_copy,
)  # fmt: skip
def lookup_copies_rows(case: Case, out: Outcome) -> Finding:
    return is_looked_up(case, out.value, which_row(case))


@lookup.law(
    "one_hot(i) @ W = Linear(one_hot(i)) = W[i], as values.",
    source="nn.Linear: y = xAᵀ + b, with one nonzero term in each sum",
    obliges={"empty", "last_row", "repeated", "rank>=4"},
    when=is_product,
)
def one_hot_product_selects_rows(case: Case, out: Outcome) -> Finding:
    if case.entry in MATHEMATICS:
        return is_looked_up(case, out.value, which_row(case))
    return same(out.value, oracle.lookup(case), which_row(case))


@lookup.law(
    "The output has the index's shape and embedding_dim behind it.", source="nn.Embedding: Shape", metadata=True
)
def lookup_has_shape(case: Case, out: Outcome) -> Finding:
    return described(out.value, shape=(*case.shape, case.embedding_dim))


@lookup.law("The output has the table's dtype.", source="nn.Embedding: Variables", metadata=True)
def lookup_has_dtype(case: Case, out: Outcome) -> Finding:
    return described(out.value, dtype=case.dtype)


@lookup.law(
    "The output is a plain Tensor, contiguous (if torch's own), dense, and on the table's device.",
    source="torch.Tensor.is_contiguous",
    metadata=True,
)
def lookup_is_contiguous(case: Case, out: Outcome) -> Finding:
    return every(
        UNASKED if out.mode == "fake" else is_true(out.plain, "the output is no plain Tensor"),
        described(out.value, device=out.leaf.plain("device"), layout="strided"),
        described(out.value, is_contiguous=True) if ENTRIES[case.entry].own else UNASKED,
    )


@lookup.law(
    "The output is a new tensor: no view of another, never written since, its strides row-major in axes of one too; "
    "what is made in inference mode is an inference tensor.",
    source="torch.empty; torch.Tensor.stride; torch.inference_mode",
    when=lambda case: is_copy(case) and not is_subject(case.entry),
    metadata=True,
)
def lookup_is_new(case: Case, out: Outcome) -> Finding:
    if out.mode not in lookup.modes:
        return UNASKED  # a graph, or a transform, has views of its own
    strides = row_major((*case.shape, case.embedding_dim))
    if out.mode == "inference":
        return described(out.value, stride=strides, is_inference=True)
    return described(out.value, stride=strides, _is_view=False, _version=0, is_inference=False)


@lookup.law(
    "The output requires grad exactly when the table does and gradients are enabled.",
    source="autograd mechanics",
    metadata=True,
)
def lookup_requires_grad(case: Case, out: Outcome) -> Finding:
    expected = case.requires_grad and out.makes_graph
    found = described(out.value, requires_grad=expected)
    if isinstance(found, Difference):
        table = "the table does" if case.requires_grad else "the table does not"
        lost = "requires no grad" if expected else "requires grad"
        return replace(
            found, words=f"the output {lost}, where {table}" + (": it would get no gradient" if expected else "")
        )
    return every(found, described(out.value, is_leaf=not expected))


@lookup.law("Nothing is written: table, indices, what lies around them, and their versions.", source="no side effects")
def lookup_writes_nothing(case: Case, out: Outcome) -> Finding:
    return every(unwritten(out), is_true(out.versions, "a version counter of the inputs moved"))


@lookup.law(
    "A lookup leaves the modes, the default dtype, the threads and the random numbers as they are.",
    source="no side effects",
    metadata=True,
)
def lookup_leaves_surroundings(case: Case, out: Outcome) -> Finding:
    return is_true(out.surroundings, "grad mode, default dtype, threads, determinism or random numbers changed")


@lookup.law(
    "A table that is given is the parameter's memory, unless it is loaded, which copies; a copy has its own.",
    source="nn.Embedding.from_pretrained; torch.nn.Parameter",
    when=lambda case: ENTRIES[case.entry].aliases,
)
def lookup_keeps_the_given_table(case: Case, out: Outcome) -> Finding:
    if not out.keeps_memory:
        return (
            is_false(out.shares_table, "the copy lies in the memory of the table")
            if case.weight_values.size
            else UNASKED
        )
    return is_true(out.shares_table, "the parameter is a copy of the table that was given")


@lookup.law("What an earlier call returned stays as it was.", source="no aliasing between calls", metadata=True)
def lookup_leaves_earlier_outputs(case: Case, out: Outcome) -> Finding:
    return is_true(out.held, "an earlier result was overwritten") if "held" in out else UNASKED


@lookup.law("The output has memory of its own.", source="torch.index_select: the result doesn't share storage")
def lookup_is_a_copy(case: Case, out: Outcome) -> Finding:
    return is_true(out.separate, "the output shares memory with an input")


@lookup.law(
    "An index outside [0, num_embeddings) is refused and nothing is written.",
    source="nn.Embedding: indices are in [0, num_embeddings - 1]",
    obliges={"refused", "stray=-1", "stray=V", "rank>=3", "index_dtype=int32"},
    refusal=True,
    metadata=True,
)
def lookup_refuses_strays(case: Case, out: Outcome) -> Finding:
    # What refuses in a graph is the graph's own: inductor's bounds check, TorchScript's interpreter, a device's assertion.
    plain = not is_product(case) and out.mode in lookup.modes and out.device == "cpu"
    if not (ENTRIES[case.entry].own or case.embedding_dim) and out.error is None:
        return unwritten(out)  # a row without columns can't be read beside the table
    kinds = REFUSALS if not ENTRIES[case.entry].own else (IndexError,) if plain else (IndexError, RuntimeError)
    found = refuses(out, *kinds)
    if isinstance(found, Difference) and out.error is None:
        stray = next(token for token in case.tokens.tolist() if not 0 <= token < case.num_embeddings)
        found = replace(found, words=f"token {stray} of a table with {case.num_embeddings} rows was {found.words}")
    return every(found, unwritten(out))


test_scope, test_product, test_random = lookup.tests()
