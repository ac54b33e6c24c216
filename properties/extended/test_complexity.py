"""Cost: a lookup is O(B·S·D) and a table O(V·D), by counting what is allocated and what runs, never by the clock."""

from __future__ import annotations

from embcheck.core.comparison import at_most, same
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.complexity.cases import BAGS, LOOKUPS, SPACE, ComplexityCase, plan

#: Bytes of bookkeeping that may be taken for each token, bag or row, and in any case.
_EACH, _ONCE = 64, 512
#: Operators that a call may run, whatever the number of tokens.
_OPERATORS = 64


complexity = Family("complexity", SPACE, plan, cost=48.0)


def _looks_up(case: ComplexityCase) -> bool:
    return case.call in LOOKUPS


@complexity.law(
    "A lookup allocates memory only for its output, O(B·S·D).",
    source="nn.Embedding: a simple lookup table",
    must_cover={"tall", "many", "dtype=float64", "dtype=bfloat16", "dtype=float16", "index_dtype=int32"},
    when=_looks_up,
)
def lookup_allocates_only_its_output(case: ComplexityCase, out: Outcome) -> Finding:
    return at_most(out.forward, case.output + _ONCE, "bytes allocated")


@complexity.law(
    "A lookup performs zero FLOPs, as torch.autograd.profiler counts them.",
    source="nn.Embedding: a simple lookup table",
    must_cover={"tall"},
    when=_looks_up,
)
def lookup_performs_no_flops(case: ComplexityCase, out: Outcome) -> Finding:
    return same(out.flops, 0)


@complexity.law(
    "A lookup saves only its indices for backward.",
    source="dW = one_hot(i)ᵀ @ dY holds neither W nor the output",
    must_cover={"tall", "many", "sparse", "scale_grad_by_freq"},
    when=_looks_up,
)
def lookup_saves_only_indices_for_backward(case: ComplexityCase, out: Outcome) -> Finding:
    return at_most(out.kept, _EACH, "bytes kept")


@complexity.law(
    "EmbeddingBag allocates no intermediate embeddings, only its output and a few words per index.",
    source="nn.EmbeddingBag: without instantiating the intermediate embeddings",
    must_cover={"wide", "padding_idx=-1", *(f"call={name}" for name in BAGS), "dtype=float16"},
    when=lambda case: case.reduces,
)
def bag_instantiates_no_intermediate_embeddings(case: ComplexityCase, out: Outcome) -> Finding:
    # Beside the output a half is accumulated in float32, and a maximum has its place.
    rows = case.rows * case.embedding_dim * (case.element + 4 + 8)
    return at_most(out.forward, rows + _EACH * (case.numel + case.rows) + _ONCE, "bytes allocated")


@complexity.law(
    "A dense weight gradient allocates one tensor of the weight's size, O(V·D).",
    source="the gradient has the shape of the weight",
    must_cover={"tall", "many", "reduces", "scale_grad_by_freq"},
    when=lambda case: case.call != "one_hot" and not case.sparse,
)
def dense_gradient_allocates_one_weight_sized_tensor(case: ComplexityCase, out: Outcome) -> Finding:
    rows = case.looked_up + 2 * case.output if case.reduces else 0
    rows += 16 * case.rows * case.embedding_dim * (case.call == "bag_max")  # where each maximum is
    words = _EACH * (case.numel + case.rows) + 16 * case.num_embeddings * case.scale_grad_by_freq
    return at_most(out.backward, case.whole + rows + words + _ONCE, "bytes allocated")


@complexity.law(
    "A sparse weight gradient allocates memory only for the looked-up rows.",
    source="nn.Embedding: sparse: gradient w.r.t. weight matrix will be a sparse tensor",
    must_cover={"tall", "reduces"},
    when=lambda case: case.sparse,
)
def sparse_gradient_allocates_only_looked_up_rows(case: ComplexityCase, out: Outcome) -> Finding:
    rows = 2 * case.looked_up + case.output
    return at_most(out.backward, rows + _EACH * (case.numel + case.rows) + _ONCE, "bytes allocated")


@complexity.law(
    "The number of operators run does not grow with the number of indices.",
    source="a lookup of a batch is one operation",
    must_cover={"many", "reduces", "call=one_hot"},
)
def operator_count_is_independent_of_index_count(case: ComplexityCase, out: Outcome) -> Finding:
    return at_most(out.operators, _OPERATORS, "operators")


@complexity.law(
    "F.one_hot allocates at most num_classes integers per index, O(B·S·V).",
    source="F.one_hot: returns a tensor of shape (*, num_classes)",
    must_cover={"tall", "many"},
    when=lambda case: case.call == "one_hot",
)
def one_hot_allocates_num_classes_integers_per_index(case: ComplexityCase, out: Outcome) -> Finding:
    matrix = 8 * case.numel * case.num_embeddings
    return at_most(out.forward, matrix + _EACH * case.numel + _ONCE, "bytes allocated")


test_scope, test_product, test_random = complexity.tests()
