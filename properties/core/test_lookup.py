"""Lookup: embedding(i) = one_hot(i) @ W = Linear without bias on one_hot(i), for every index, table and spelling."""

from dataclasses import replace

from embcheck.core import oracle
from embcheck.core.case import TYPICAL, LookupCase
from embcheck.core.comparison import described, every, is_true, left_alone, refuses, same, unwritten
from embcheck.core.declaration import is_subject
from embcheck.core.law import Family
from embcheck.core.layout import row_major
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Difference, Finding
from embcheck.core.weight_map import MATHEMATICS
from embcheck.families.lookup.received import which_row
from embcheck.families.lookup.space import SPACE, is_product, plan
from embcheck.families.lookup.spelling import ENTRIES, REFUSALS, is_looked_up, shares_table

#: Modes that record backward before they run forward.
RECORD_BACKWARD = ("aot", "aot_eager", "aot_decomposed", "inductor", "inductor_static")


def without_backward(case: LookupCase, mode: str) -> str | None:
    """What is sparse and scaled can be looked up, but has no backward that could be recorded."""
    backward = case.sparse and case.scale_grad_by_freq and case.requires_grad and not case.refused
    if mode not in RECORD_BACKWARD or not backward:
        return None
    return "it records backward first, which torch refuses: 'scale_grad_by_freq not supported with sparse gradients'"


lookup = Family(
    "lookup",
    SPACE,
    plan,
    modes=("eager", "no_grad", "inference"),
    call="table",
    refused=lambda case: case.refused,
    outside=without_backward,
    typical=TYPICAL,
)


@lookup.law(
    "The lookup returns the rows W[i], bit for bit.",
    source="nn.Embedding: a simple lookup table",
    must_cover={"empty", "zero_width", "last_row", "numel>32768 & index_dtype=int32", "values=special", "repeated", "rank>=4",
             "dtype=float16", "dtype=bfloat16", "dtype=float64", "padding_hit", "num_embeddings>2000",
             "num_embeddings>65536 & last_row"},
    when=lambda case: not is_product(case),
)  # fmt: skip
def lookup_copies_rows(case: LookupCase, out: Outcome) -> Finding:
    return is_looked_up(case, out.value, which_row(case))


@lookup.law(
    "one_hot(i) @ W, and a Linear without bias applied to one_hot(i), equal W[i].",
    source="nn.Linear: y = xAᵀ + b, with one nonzero term in each sum",
    must_cover={"empty", "last_row", "repeated", "rank>=4"},
    when=is_product,
)
def one_hot_product_equals_lookup(case: LookupCase, out: Outcome) -> Finding:
    if case.entry in MATHEMATICS:
        return is_looked_up(case, out.value, which_row(case))
    return same(out.value, oracle.lookup(case), which_row(case))


@lookup.law("The output has shape (*indices.shape, embedding_dim).", source="nn.Embedding: Shape", of="metadata")
def lookup_output_has_documented_shape(case: LookupCase, out: Outcome) -> Finding:
    return described(out.value, shape=(*case.shape, case.embedding_dim))


@lookup.law("The output has the weight's dtype.", source="nn.Embedding: Variables", of="metadata")
def lookup_output_has_weight_dtype(case: LookupCase, out: Outcome) -> Finding:
    return described(out.value, dtype=case.dtype)


@lookup.law(
    "The output is a contiguous, strided torch.Tensor on the weight's device.",
    source="torch.Tensor.is_contiguous",
    of="metadata",
)
def lookup_output_is_contiguous(case: LookupCase, out: Outcome) -> Finding:
    contiguous = {"is_contiguous": True} if ENTRIES[case.entry].own else {}
    return every(
        UNASKED if out.mode == "fake" else is_true(out.plain, "the output is no plain Tensor"),
        described(out.value, device=out.leaf.plain("device"), layout="strided", **contiguous),
    )


@lookup.law(
    "The output is a new tensor: not a view, never modified, with row-major strides.",
    source="torch.empty; torch.Tensor.stride; torch.inference_mode",
    when=lambda case: not is_product(case) and not is_subject(case.entry),
    of="metadata",
)
def lookup_output_is_a_new_tensor(case: LookupCase, out: Outcome) -> Finding:
    if out.mode not in lookup.modes:
        return UNASKED  # a graph, or a transform, has views of its own
    strides = row_major((*case.shape, case.embedding_dim))
    if out.mode == "inference":
        return described(out.value, stride=strides, is_inference=True)
    return described(out.value, stride=strides, _is_view=False, _version=0, is_inference=False)


@lookup.law(
    "The output requires grad exactly when the weight does and grad mode is enabled.",
    source="Autograd mechanics: setting requires_grad; grad modes",
    of="metadata",
)
def lookup_output_requires_grad_iff_weight_does(case: LookupCase, out: Outcome) -> Finding:
    expected = case.requires_grad and out.makes_graph
    found = described(out.value, requires_grad=expected)
    if isinstance(found, Difference):
        where = "grad mode is off" if case.requires_grad else "the table does not"
        words = "requires no grad, where the table does: it would get no gradient"
        return replace(found, words=f"the output {words if expected else f'requires grad, where {where}'}")
    return every(found, described(out.value, is_leaf=not expected))


@lookup.law(
    "The lookup modifies neither weight nor indices, nor memory around them, nor their version counters.",
    source="no side effects",
    of="memory",
)
def lookup_modifies_no_input(case: LookupCase, out: Outcome) -> Finding:
    return every(unwritten(out), is_true(out.versions, "a version counter of the inputs moved"))


@lookup.law(
    "The lookup changes neither grad mode, default dtype, thread count, deterministic mode nor random number generator state.",
    source="no side effects",
    of="metadata",
)
def lookup_preserves_global_state(case: LookupCase, out: Outcome) -> Finding:
    return left_alone(out.surroundings)


@lookup.law(
    "The weight shares the given tensor's memory; after load_state_dict or a module copy it does not.",
    source="nn.Embedding.from_pretrained; torch.nn.Parameter",
    when=lambda case: ENTRIES[case.entry].aliases,
)
def lookup_weight_shares_given_memory(case: LookupCase, out: Outcome) -> Finding:
    return shares_table(out, case.weight_values.size)


@lookup.law(
    "A lookup does not overwrite the output or gradient of an earlier call.",
    source="no aliasing between calls",
    of="metadata",
)
def lookup_preserves_earlier_outputs(case: LookupCase, out: Outcome) -> Finding:
    return is_true(out.held, "an earlier result was overwritten") if "held" in out else UNASKED


@lookup.law(
    "The output shares no memory with the weight or the indices.",
    source="torch.index_select: the returned tensor does not use the same storage",
    of="memory",
)
def lookup_output_shares_no_memory(case: LookupCase, out: Outcome) -> Finding:
    return is_true(out.separate, "the output shares memory with an input")


@lookup.law(
    "An index outside [0, num_embeddings) raises an error, and nothing is modified.",
    source="nn.Embedding: num_embeddings; indices are in [0, num_embeddings - 1]",
    must_cover={"refused", "out_of_range=-1", "out_of_range=V", "rank>=3", "index_dtype=int32"}
    | {f"out_of_range={place} & num_embeddings>1000" for place in ("-1", "V")},
    refusal=True,
    of="metadata",
)
def lookup_out_of_range_indices_raise(case: LookupCase, out: Outcome) -> Finding:
    # What refuses in a graph is the graph's own: inductor's bounds check, TorchScript's interpreter, a device's assertion.
    plain = not is_product(case) and out.mode in lookup.modes and out.device == "cpu"
    if not (ENTRIES[case.entry].own or case.embedding_dim) and out.error is None:
        return unwritten(out)  # a row without columns can't be read beside the table
    kinds = REFUSALS if not ENTRIES[case.entry].own else (IndexError,) if plain else (IndexError, RuntimeError)
    found = refuses(out, *kinds)
    if isinstance(found, Difference) and out.error is None:
        out_of_range = next(token for token in case.tokens.tolist() if not 0 <= token < case.num_embeddings)
        found = replace(
            found, words=f"token {out_of_range} of a table with {case.num_embeddings} rows was {found.words}"
        )
    return every(found, unwritten(out))


test_scope, test_product, test_random = lookup.tests()
