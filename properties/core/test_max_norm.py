"""Renorm: with max_norm a lookup rescales, in place, exactly the rows that it looks up and whose norm is larger."""

from typing import Any

import numpy as np

from embcheck.core import bound, oracle
from embcheck.core.comparison import (
    described,
    every,
    identical,
    is_true,
    left_alone,
    refuses,
    rows_shown,
    same,
    unwritten,
    within,
)
from embcheck.core.law import Family
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import HOLDS, UNASKED, Difference, Finding
from embcheck.families.lookup.spelling import REFUSALS
from embcheck.families.max_norm.cases import MaxNormCase, Renormed, p_norm
from embcheck.families.max_norm.programs import LEARNING, RECOMPUTED, SPELLINGS
from embcheck.families.max_norm.space import SPACE, plan


def refuses_no_norm(case: MaxNormCase, out: Outcome) -> str | None:
    """No norm is negative: a release may refuse such a limit, as torch.renorm does.  And a row without elements has no
    largest one, nor a norm of a negative p: linalg.vector_norm documents that of inf as max(abs(x)), and refuses it."""
    if case.max_norm is None or not isinstance(out.error, (RuntimeError, ValueError)):
        return None
    if case.max_norm < 0:
        return "a negative max_norm is refused"
    extreme = not case.embedding_dim and (case.norm_type < 0 or case.norm_type == float("inf"))
    if extreme and "norm on an empty tensor" in str(out.error):
        return f"a row without elements has no norm with p={case.norm_type}: torch refuses it in these words"
    return None


def not_scripted(case: MaxNormCase, mode: str) -> str | None:
    """TorchScript, which is deprecated, makes no float of an int."""
    if mode not in ("jit_script", "jit_saved") or not (type(case.max_norm) is int or type(case.norm_type) is int):
        return None
    return "nn.Embedding documents max_norm and norm_type as floats, and TorchScript takes no int for a float"


max_norm = Family(
    "max_norm",
    SPACE,
    plan,
    modes=("eager", "no_grad", "inference"),
    call="table",
    refused=lambda case: case.refused or case.spent,
    not_applicable=refuses_no_norm,
    outside=not_scripted,
    cost=4.0,
    stride=2,
    typical=("over & within & unequal_counts & embedding_dim>=2", "unequal_counts & embedding_dim>=2"),
)


def fate_of(case: MaxNormCase, before: Field) -> Renormed:
    """What the lookup must make of the table that it found."""
    return case.fate if case.history == "fresh" else case.after(before.values)


def obeys(case: MaxNormCase, fate: Renormed, before: Field, after: Field) -> Finding:
    """Whether a table after a lookup is what the table before must become."""
    unmoved = (before.bits == after.bits).all(1)
    if not unmoved[fate.kept].all():
        row = int(np.flatnonzero(fate.kept & ~unmoved)[0])
        why = "there is no max_norm"
        if not case.looked_up[row]:
            why = "it was not looked up"
        elif case.max_norm is not None:
            why = f"it was looked up, and its norm {fate.norm[row]:g} does not exceed max_norm {case.max_norm:g}"
        same_bits = before.bits[row] == after.bits[row]
        became, was, apart = rows_shown(after.values[row], before.values[row], same_bits)
        words = f"row {row} became {became} from {was}{apart}: {why}"
        return identical(after[row], before[row], lambda actual: words)
    moved = fate.judged & ~fate.kept & (fate.scaled | ~unmoved)
    return within(after[moved], fate.value[moved], fate.bound[moved])


def judged_by(*routes: str) -> Any:
    """The condition that a case takes one of these routes and is differentiated."""
    return lambda case: case.route in routes and case.requires_grad


@max_norm.law(
    "A lookup rescales exactly the looked-up rows whose p-norm exceeds max_norm, to w·max_norm/norm.",
    source="nn.Embedding: max_norm; norm_type",
    must_cover={"over", "within", "at_limit", "spared", "zero_row", "nan_row", "repeated", "padding_hit", "empty",
             "zero_width", "bag", "max_norm=0", "numel>1000",
             "num_embeddings>1000", "embedding_dim>128",
             "norm_type=1", "norm_type=3", "norm_type=inf", "norm_type=0.5", "norm_type=-1",
             "dtype=float16 & norm_type=2 & largest_norm>256 & history=fresh",  # whose square is beyond the format
             "dtype=bfloat16", "dtype=float64", "index_dtype=int32"},
)  # fmt: skip
def rows_over_max_norm_are_rescaled(case: MaxNormCase, out: Outcome) -> Finding:
    fate, others = fate_of(case, out.before), out.along_first_axis("other_after")
    return every(*(obeys(case, fate, out.before, after) for after in [out.after, *others]))


@max_norm.law(
    "Before the first lookup, the weight equals the given tensor, bit for bit.",
    source="nn.Embedding: weight",
    when=lambda case: case.history == "fresh",
)
def max_norm_module_starts_with_given_weight(case: MaxNormCase, out: Outcome) -> Finding:
    return identical(out.before, case.format.to_bits(case.weight_stored))


@max_norm.law("Rescaling changes no element's sign.", source="w·max_norm/norm, with max_norm/norm ≥ 0")
def max_norm_rescaling_keeps_signs(case: MaxNormCase, out: Outcome) -> Finding:
    finite = np.isfinite(out.before.values).all(1)
    signs = np.signbit(out.after.values[finite])
    # Of a NaN another law speaks.
    wrong = (signs != np.signbit(out.before.values[finite])) & ~np.isnan(out.after.values[finite])
    if not wrong.any():
        return HOLDS
    row = int(np.flatnonzero(finite)[np.flatnonzero(wrong.any(1))[0]])
    path = f"({out.after.path}[{row}].signbit() == {out.before.path}[{row}].signbit()).all().item()"
    return Difference("sign", path, False, True, f"row {row} changed a sign")


@max_norm.law(
    "After a lookup, every looked-up row's norm is at most max_norm, up to rounding.",
    source="nn.Embedding: max_norm: renormalized to have norm max_norm",
    when=lambda case: case.max_norm is not None,
    must_cover={"over", "norm_type=1", "norm_type=inf"},
    implied_by="rows_over_max_norm_are_rescaled",
)
def row_norms_do_not_exceed_max_norm(case: MaxNormCase, out: Outcome) -> Finding:
    fate, limit = fate_of(case, out.before), float(case.max_norm or 0.0)
    rows = case.looked_up & np.isfinite(out.before.values).all(1)
    values = out.after.values[rows]
    norms = p_norm(values, float(case.norm_type))
    slack = p_norm(np.where(fate.kept[rows, None], 0.0, fate.bound[rows]), float(case.norm_type))
    if float(case.norm_type) < 1:
        return UNASKED  # no triangle inequality
    # The decision itself may be off by as much as a norm's rounding.
    with np.errstate(invalid="ignore"):  # limits that are infinite, or below zero
        high = limit * (1 + fate.tau[rows]) + slack
    over = norms > high
    if not over.any():
        return HOLDS
    worst, most = float(norms[over][0]), float(high[over][0])
    row, power = int(np.flatnonzero(rows)[over][0]), f"float({str(case.norm_type)!r})"
    path = f"max({out.after.path}[{row}].double().norm({power}).item(), {limit!r})"
    words = f"a row of norm {worst:g} remains, with max_norm {limit:g}"
    return Difference("norm", path, worst, limit, words, most - limit)


@max_norm.law(
    "The lookup returns the rows of the rescaled weight.",
    source="nn.Embedding: max_norm; F.embedding: this will modify weight in-place",
    must_cover={"over", "bag", "bag & padding_hit", "over & include_last_offset", "rank>=4"},
)
def max_norm_is_applied_before_lookup(case: MaxNormCase, out: Outcome) -> Finding:
    shape = (*case.shape, case.embedding_dim)
    if case.entry.startswith("bag"):
        # A bag of padding alone is empty: zeros.
        rows = np.where(case.counted[:, None], out.after.values[case.tokens], 0.0)
        return same(out.value, rows.reshape(shape)) if np.isfinite(rows).all() else UNASKED
    return identical(out.value, out.after.bits[case.tokens].reshape(shape))


@max_norm.law(
    "Rescaling is not differentiated: dW = one_hot(i)ᵀ dY, sparse exactly when sparse=True.",
    source="nn.Embedding: max_norm; padding_idx; sparse; scale_grad_by_freq",
    when=judged_by("plain", "several", *RECOMPUTED),
    modes={"graph"},
    must_cover={"over", "padding_hit", "repeated", "sparse", "scale_grad_by_freq", "bag"},
)
def max_norm_rescaling_is_not_differentiated(case: MaxNormCase, out: Outcome) -> Finding:
    return every(
        described(out.weight_grad, is_sparse=case.sparse), within(out.weight_grad, *oracle.weight_gradient(case))
    )


@max_norm.law(
    "The gradient of per_sample_weights is the product of the rescaled rows and the upstream gradient.",
    source="nn.EmbeddingBag: per_sample_weights; max_norm",
    when=lambda case: case.entry in LEARNING and case.route not in RECOMPUTED,
    modes={"graph"},
    must_cover={"over", "repeated", "requires_grad", "requires_grad=False", "dtype=float16"},
)
def per_sample_weights_gradient_uses_rescaled_rows(case: MaxNormCase, out: Outcome) -> Finding:
    rows, width = out.after.values[case.tokens], case.embedding_dim
    terms = np.where(np.isfinite(rows) & case.counted[:, None], rows, 0.0) * case.upstream_values
    judged = np.isfinite(rows).all(1) & (np.abs(terms).sum(1) < 2.0**case.format.emax)  # the others may overflow
    terms = terms[judged]
    limit = bound.scaled_sum(width + 1, case.format.unit_roundoff + 2.0**-53) * np.abs(terms).sum(1)
    limit += (width + 1) * case.format.smallest_subnormal
    shape = (-1, 1) if case.entry == "bag_weights_learn" else (-1,)
    return within(out.sample_grad[judged], terms.sum(1).reshape(shape), limit.reshape(shape))


@max_norm.law(
    "A weight.clone() used before the lookup, or the weight used after it, adds its own gradient.",
    source="nn.Embedding: weight must be cloned for this to be differentiable",
    when=judged_by("cloned_before", "used_after"),
    modes={"graph"},
    must_cover={"over"},
)
def max_norm_allows_clones_and_later_uses(case: MaxNormCase, out: Outcome) -> Finding:
    looked_up, limit = oracle.weight_gradient(case)
    used = 2 * (out.before if case.route == "cloned_before" else out.after).values
    total = looked_up + used
    u = case.format.unit_roundoff + 2.0**-53
    # w·g + g·w: two products and their sum, then the sum of both paths.
    return within(out.weight_grad, total, limit * (1 + u) + 4 * u * (np.abs(looked_up) + np.abs(used)))


@max_norm.law(
    "Backward raises RuntimeError if the weight itself was used before a lookup that rescaled it.",
    source="nn.Embedding: tensors needed for gradient computations cannot be modified in-place",
    when=lambda case: case.spent,
    modes={"graph"},
    must_cover={"spent"},
    refusal=True,
)
def max_norm_backward_of_earlier_use_raises(case: MaxNormCase, out: Outcome) -> Finding:
    return refuses(out, RuntimeError)


@max_norm.law(
    "Rescaling increments the weight's version counter; without max_norm the counter does not change.",
    source="Autograd mechanics: in-place correctness checks",
    modes={"graph", "no_grad"},  # what is made in inference mode has no version
    must_cover={"over"},
)
def max_norm_increments_version_counter(case: MaxNormCase, out: Outcome) -> Finding:
    if case.max_norm is None:
        return same(out.moved, 0)
    written = bool((out.before.bits != out.after.bits).any())
    if written and out.moved.raw < 1:
        return is_true(out.moved.derived("{} > 0"), "rows were written, but the version stood still")
    return HOLDS


@max_norm.law(
    "A lookup with max_norm modifies only the weight; without max_norm it modifies nothing.",
    source="F.embedding: this will modify weight in-place",
    must_cover={"repeated", "over", "limited"},
)
def max_norm_modifies_only_the_weight(case: MaxNormCase, out: Outcome) -> Finding:
    writes = case.max_norm is not None and SPELLINGS[case.entry].aliases
    calm = case.history in ("weight_changed", "indices_changed")  # which write and put back
    return unwritten(out, *(("weight",) if writes else ())) if not calm or writes else UNASKED


@max_norm.law(
    "A second lookup changes the rescaled rows by rounding at most.",
    source="nn.Embedding: max_norm: each vector with norm larger than max_norm is renormalized to have norm max_norm",
    must_cover={"over"},
)
def max_norm_rescaling_is_idempotent(case: MaxNormCase, out: Outcome) -> Finding:
    moved = bool((out.before.bits != out.after.bits).any())
    fate = case.after(out.after.values) if moved else fate_of(case, out.before)
    return obeys(case, fate, out.after, out.twice)


@max_norm.law(
    "The weight stays a leaf with the same requires_grad; the output is a contiguous copy.",
    source="nn.Embedding: max_norm; nn.Parameter; torch.Tensor.is_contiguous",
)
def max_norm_keeps_weight_a_leaf(case: MaxNormCase, out: Outcome) -> Finding:
    return every(
        is_true(out.is_leaf, "the table became part of a graph"),
        is_true(out.separate, "the output shares memory with the table"),
        described(out.value, is_contiguous=True) if SPELLINGS[case.entry].own else UNASKED,
        is_true(out.kept, "backward changed the table") if case.route not in RECOMPUTED else UNASKED,
        same(out.requires_grad, (case.requires_grad or case.entry in LEARNING) and out.makes_graph),
        same(out.leaf_requires_grad, case.requires_grad) if out.makes_graph else UNASKED,
    )


@max_norm.law(
    "A lookup with max_norm changes neither grad mode, default dtype, threads, deterministic mode nor generator state.",
    source="no side effects",
)
def max_norm_preserves_global_state(case: MaxNormCase, out: Outcome) -> Finding:
    return left_alone(out.surroundings)


@max_norm.law(
    "An index outside [0, num_embeddings) raises, and no row is rescaled.",
    source="nn.Embedding: num_embeddings; indices are in [0, num_embeddings - 1]",
    must_cover={"refused", "out_of_range=-1", "out_of_range=V", "bag", "index_dtype=int32"},
    when=lambda case: case.refused,
    refusal=True,
)
def max_norm_out_of_range_indices_raise(case: MaxNormCase, out: Outcome) -> Finding:
    return every(refuses(out, *REFUSALS), unwritten(out))


test_scope, test_product, test_random = max_norm.tests()
