"""Renorm: with max_norm a lookup rescales, in place, exactly the rows that it looks up and whose norm is larger."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck import bound, oracle
from embcheck.comparison import every, identical, is_true, refuses, same, unwritten, within
from embcheck.format import FORMATS, Floats
from embcheck.law import Family, Plan
from embcheck.layout import UPSTREAM_LAYOUTS
from embcheck.lookup import table
from embcheck.lookup.entry import REFUSALS, flags_of
from embcheck.lookup.past import HISTORIES, PASTS, past_cases
from embcheck.outcome import Field, Outcome
from embcheck.renorm.aim import aimed_renorm
from embcheck.renorm.case import RenormCase, Renormed, p_norm
from embcheck.renorm.program import LEARNING, RECOMPUTED, SPELLINGS, TAKES, renormalise
from embcheck.result import HOLDS, UNASKED, Difference, Finding
from embcheck.space import Space

MAX_NORMS = (1.0, None, 0.0, 0.5, 5, 2.5, 0.1, 10.0, 100.0, 1e-8, 1e15, float("inf"), -1.0)
#: The p of each p-norm; all are homogeneous, so that rescaling can reach max_norm.
NORM_TYPES = (2.0, 1.0, 3.0, 0.5, float("inf"), 1.5, 4, float("-inf"), -1.0, -2.0, 2.5)


def plan(case: RenormCase) -> Plan:
    entry = SPELLINGS[case.entry]
    options = {
        "build": entry.build,
        "history": PASTS[case.history],
        "route": TAKES[case.route],
        "flags": flags_of(case, entry),
        "requires_grad": case.requires_grad,
    }
    inputs = {"weight": case.weight_input, "indices": case.index_input, "upstream": case.upstream_input}
    return Plan(renormalise, inputs, options, case.threads)


def canonical(case: RenormCase) -> RenormCase | None:
    """The case with entry, route, history and flags that fit each other."""
    changes: dict[str, Any] = {} if case.route in TAKES else {"route": "plain"}
    if case.entry.startswith("bag") and not (case.num_embeddings and case.embedding_dim and case.numel):
        changes["entry"] = "functional"
    if case.layout == "expanded":
        changes["layout"] = "column_slice"  # rows that share memory can't be written one by one
    if case.upstream in ("special", "tiny", "huge"):
        changes["upstream"] = "code"
    case = case.but(**changes)
    lacking = {"padding_idx": None, "scale_grad_by_freq": False, "sparse": False}
    case = case.but(**{name: v for name, v in lacking.items() if name not in SPELLINGS[case.entry].flags})
    if case.sparse and (case.scale_grad_by_freq or case.route != "plain"):
        case = case.but(sparse=False)
    if case.values != "mixed" and case.route in ("cloned_before", "used_after"):
        case = case.but(route="plain")  # squares of what is huge or no number
    if case.stray is not None or not case.num_embeddings:
        case = case.but(history="fresh", route="plain")
    if not case.embedding_dim and case.history != "fresh":
        case = case.but(history="fresh")
    if case.history == "indices_changed" and case.index_layout == "expanded":
        case = case.but(history="fresh")
    if case.entry.startswith("bag") and case.history in ("other_shape", "after_empty"):
        case = case.but(history="repeated")
    fitted: RenormCase | None = table.canonical(case)  # type: ignore[assignment]
    if fitted is not None and fitted.route == "used_before":
        # Only a lookup that certainly writes must be refused, and only where the weight is part of a graph.
        fitted = fitted.but(history="fresh", requires_grad=True)
        if not fitted.spent:
            fitted = fitted.but(route="plain")
    return fitted


def scope() -> Iterator[RenormCase]:
    """Every sequence of up to 4 tokens, every shape, every size, with every spelling, limit and norm in turn."""
    kinds = itertools.cycle(itertools.product(MAX_NORMS, NORM_TYPES, SPELLINGS))
    every_case = itertools.chain(
        table.small_cases(), table.small_cases(), table.shape_cases(), table.size_cases(), table.size_cases()
    )
    for seed, case in enumerate(every_case):
        max_norm, norm_type, entry = next(kinds)
        changes = {"max_norm": max_norm, "norm_type": norm_type, "entry": entry}
        yield from _fitted(RenormCase(*case), seed=seed, values="mixed", **changes)
    # Each of these histories has some twenty cases in a row: limit, norm and spelling change from each to the next, that
    # every history meets the limits that rescale; and now and then none, where the table does not learn.
    past = zip(past_cases(), *map(itertools.cycle, (MAX_NORMS, NORM_TYPES, SPELLINGS)), strict=False)
    for seed, (case, max_norm, norm_type, entry) in enumerate(past):
        kept = seed % 4 != 2 and case.entry in SPELLINGS
        max_norm = None if seed % 8 == 0 else max_norm
        changes = {"max_norm": max_norm, "norm_type": norm_type, "entry": case.entry if kept else entry}
        yield from _fitted(RenormCase(*case), seed=seed, values="mixed", **changes)
    strays = itertools.product(table.STRAY_AXIS[1:], SPELLINGS, ((), (1,), (3,), (2, 2)))
    for seed, (stray, entry, shape) in enumerate(strays):
        given = RenormCase(3, 2, "cycle", shape, max_norm=1.0, values="mixed")
        yield from _fitted(given, stray=stray, entry=entry, seed=seed)


def _fitted(case: RenormCase, **changes: Any) -> Iterator[RenormCase]:
    found = canonical(case.but(**changes))
    if found is not None:
        yield found


def landmarks() -> Iterator[RenormCase]:
    """What the obligations ask for, in every profile; then tables and token counts beyond the thresholds."""
    first = RenormCase(14, 3, "permutation", (2, 14), max_norm=5.0, values="mixed")
    for entry, dtype in itertools.product(SPELLINGS, FORMATS):
        yield first.but(entry=entry, dtype=dtype, sparse=dtype == "float32", padding_idx=1)
    for p, max_norm, dtype in itertools.product(NORM_TYPES, MAX_NORMS, FORMATS):
        yield first.but(norm_type=p, max_norm=max_norm, dtype=dtype, seed=3)
    for route, requires_grad, indices in itertools.product(TAKES, (True, False), ("unequal", "same", "ends")):
        yield first.but(route=route, requires_grad=requires_grad, indices=indices, shape=(1, 5, 1, 2))
    for values, p in itertools.product(("special", "huge"), NORM_TYPES):
        yield first.but(values=values, norm_type=p)
    for stray, entry in itertools.product(table.STRAY_AXIS[1:], ("functional", "module", "bag_sum", "renorm_")):
        yield first.but(stray=stray, entry=entry, max_norm=1.0, shape=(4,), index_dtype="int32")
    for position, case in enumerate(table.landmarks()):
        yield RenormCase(*case).but(
            values="mixed", max_norm=(1.0, 5.0, 0.1)[position % 3], norm_type=(2.0, 1.0, 2.0, 3.0)[position % 4],
            entry=("functional", "module", "bag_sum")[position % 3],
        )  # fmt: skip
    for position, (width, p) in enumerate(itertools.product((64, 65, 129, 257, 513), NORM_TYPES)):
        yield RenormCase(14, width, "permutation", (14,), max_norm=(2.5, 5.0)[position % 2], norm_type=p, values="mixed",
                         dtype=tuple(FORMATS)[position // 2 % 4], seed=position)  # fmt: skip
    for entry, dtype, p in itertools.product(("functional", "bag_sum"), FORMATS, (2.0, 1.0, 3.0)):
        # Squares that a narrow format does not hold, of norms that it does.
        yield first.but(entry=entry, dtype=dtype, norm_type=p, max_norm=1000.0)
    for position, (rows, threads) in enumerate(itertools.product((1001, 1025, 2049), (1, 2))):
        # So many different rows, each of them once.
        yield RenormCase(rows, 2, "permutation", (rows,), max_norm=1.0, values="mixed", threads=threads,
                         entry=("functional", "bag_sum", "renorm_")[position % 3], seed=position)  # fmt: skip
    for position, (numel, threads) in enumerate(itertools.product((999, 1000, 1001), (1, 2))):
        p = (2.0, 1.0, 3.0, float("inf"), 0.5)[position % 5]
        yield RenormCase(7, 3, "uniform", (numel,), max_norm=1.0, values="mixed", threads=threads)
        yield RenormCase(1001, 3, "uniform", (numel,), max_norm=1.0, norm_type=p, values="mixed", threads=threads)


AXES: dict[str, tuple[Any, ...]] = table.AXES | {
    "num_embeddings": (3, 1, 2, 5, 14, 17),
    "values": ("mixed", "real", "small", "special", "huge"),
    "max_norm": MAX_NORMS,
    "norm_type": NORM_TYPES,
    "upstream": ("code", "ones", "real"),
    "upstream_layout": UPSTREAM_LAYOUTS,
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "requires_grad": (True, False),
    "entry": tuple(SPELLINGS),
    "route": tuple(TAKES),
    "history": tuple(HISTORIES),
    "threads": (1, 2),
}


def refuses_no_norm(case: RenormCase, out: Outcome) -> str | None:
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


def not_scripted(case: RenormCase, mode: str) -> str | None:
    """TorchScript, which is deprecated, makes no float of an int."""
    if mode not in ("jit_script", "jit_saved") or not (type(case.max_norm) is int or type(case.norm_type) is int):
        return None
    return "nn.Embedding documents max_norm and norm_type as floats, and TorchScript takes no int for a float"


renorm = Family(
    "renorm",
    Space(
        RenormCase,
        AXES,
        canonical,
        scope,
        landmarks,
        flags=("entry", "norm_type", "padding_idx", "route", "dtype"),
        base={"num_embeddings": 14, "shape": (2, 7), "max_norm": 5.0},
        draw=lambda draws: canonical(RenormCase(*table.threshold_case(draws, AXES | {"stray": table.STRAY_AXIS}))),
        smaller=table.smaller_tables,
        aim=aimed_renorm,
        strength=2,
    ),
    plan,
    modes=("eager", "no_grad", "inference"),
    call="table",
    refused=lambda case: case.refused or case.spent,
    not_applicable=refuses_no_norm,
    outside=not_scripted,
    cost=4.0,
    stride=2,
)


def floats(observed: Field) -> Floats:
    """The elements as float64."""
    return np.asarray(observed.values, np.float64)


def fate_of(case: RenormCase, before: Field) -> Renormed:
    """What the lookup must make of the table that it found."""
    return case.fate if case.history == "fresh" else case.after(floats(before))


def obeys(case: RenormCase, fate: Renormed, before: Field, after: Field) -> Finding:
    """Whether a table after a lookup is what the table before must become."""
    unmoved = (before.bits == after.bits).all(1)
    if not unmoved[fate.kept].all():
        row = int(np.flatnonzero(fate.kept & ~unmoved)[0])
        why = "there is no max_norm"
        if not case.looked_up[row]:
            why = "it was not looked up"
        elif case.max_norm is not None:
            why = f"it was looked up, and its norm {fate.norm[row]:g} does not exceed max_norm {case.max_norm:g}"
        words = f"row {row} became {after.values[row][:6]} from {before.values[row][:6]}: {why}"
        return identical(after[row], before[row], lambda actual: words)
    moved = fate.judged & ~fate.kept & (fate.scaled | ~unmoved)
    return within(after[moved], fate.value[moved], fate.bound[moved])


def judged_by(*routes: str) -> Any:
    """The condition that a case takes one of these routes and is differentiated."""
    return lambda case: case.route in routes and case.requires_grad


@renorm.law(
    "Exactly the rows that are looked up and whose p-norm exceeds max_norm become w·max_norm/norm; others are kept.",
    source="nn.Embedding: max_norm; norm_type",
    obliges={"over", "within", "at_limit", "spared", "zero_row", "nan_row", "repeated", "padding_hit", "empty",
             "zero_width", "bag", "max_norm=0", "numel>1000",
             "num_embeddings>1000", "embedding_dim>128",
             "norm_type=1", "norm_type=3", "norm_type=inf", "norm_type=0.5", "norm_type=-1",
             "dtype=float16", "dtype=bfloat16", "dtype=float64", "index_dtype=int32"},
)  # fmt: skip
def rows_over_max_norm_are_rescaled(case: RenormCase, out: Outcome) -> Finding:
    return obeys(case, fate_of(case, out.before), out.before, out.after)


@renorm.law(
    "The table that the lookup finds is the one that was given.",
    source="nn.Embedding: weight",
    when=lambda case: case.history == "fresh",
)
def renorm_starts_from_the_given_table(case: RenormCase, out: Outcome) -> Finding:
    return identical(out.before, case.format.to_bits(case.weight_stored))


@renorm.law("Rescaling changes no sign.", source="w·max_norm/norm with a factor that is not negative")
def renorm_keeps_signs(case: RenormCase, out: Outcome) -> Finding:
    finite = np.isfinite(out.before.values).all(1)
    signs = np.signbit(out.after.values[finite])
    wrong = signs != np.signbit(out.before.values[finite])
    if not wrong.any():
        return HOLDS
    row = int(np.flatnonzero(finite)[np.flatnonzero(wrong.any(1))[0]])
    path = f"({out.after.path}[{row}].signbit() == {out.before.path}[{row}].signbit()).all().item()"
    return Difference("sign", path, False, True, f"row {row} changed a sign")


@renorm.law(
    "After the lookup no row that was looked up has a norm above max_norm, but for rounding.",
    source="nn.Embedding: max_norm: renormalized to have norm max_norm",
    when=lambda case: case.max_norm is not None,
    obliges={"over", "norm_type=1", "norm_type=inf"},
    implied_by="rows_over_max_norm_are_rescaled",
)
def norms_are_at_most_max_norm(case: RenormCase, out: Outcome) -> Finding:
    fate, limit = fate_of(case, out.before), float(case.max_norm or 0.0)
    rows = case.looked_up & np.isfinite(out.before.values).all(1)
    values = floats(out.after)[rows]
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


@renorm.law(
    "The output is the lookup in the rescaled table.",
    source="nn.Embedding: max_norm; F.embedding: this will modify weight in-place",
    obliges={"over", "bag", "rank>=4"},
)
def renorm_comes_before_the_lookup(case: RenormCase, out: Outcome) -> Finding:
    rows = out.after.values[case.tokens].reshape(*case.shape, case.embedding_dim)
    if case.entry.startswith("bag"):
        return same(out.value, rows) if np.isfinite(rows).all() else UNASKED
    bits = out.after.bits[case.tokens].reshape(rows.shape)
    return identical(out.value, bits)


@renorm.law(
    "The gradient is that of a lookup in the rescaled table: dW = one_hot(i)ᵀ dY.",
    source="nn.Embedding: max_norm; padding_idx; sparse; scale_grad_by_freq",
    when=judged_by("plain", *RECOMPUTED),
    modes={"graph"},
    obliges={"over", "padding_hit", "repeated", "sparse", "scale_grad_by_freq", "bag"},
)
def renorm_is_not_differentiated(case: RenormCase, out: Outcome) -> Finding:
    return within(out.weight_grad, *oracle.weight_gradient(case))


@renorm.law(
    "Weights that learn get the products with the rescaled rows, whether the table learns or not.",
    source="nn.EmbeddingBag: per_sample_weights; max_norm",
    when=lambda case: case.entry in LEARNING and case.route not in RECOMPUTED,
    modes={"graph"},
    obliges={"over", "repeated", "requires_grad", "requires_grad=False", "dtype=float16"},
)
def weights_learn_from_rescaled_rows(case: RenormCase, out: Outcome) -> Finding:
    rows, width = floats(out.after)[case.tokens], case.embedding_dim
    terms = np.where(np.isfinite(rows), rows, 0.0) * case.upstream_values
    judged = np.isfinite(rows).all(1) & (np.abs(terms).sum(1) < 2.0**case.format.emax)  # the others may overflow
    terms = terms[judged]
    limit = bound.gamma(width + 1, case.format.unit_roundoff + 2.0**-53) * np.abs(terms).sum(1)
    limit += (width + 1) * case.format.smallest_subnormal
    shape = (-1, 1) if case.entry == "bag_weights_learn" else (-1,)
    return within(out.sample_grad[judged], terms.sum(1).reshape(shape), limit.reshape(shape))


@renorm.law(
    "A use of the weight's clone before the lookup, or of the weight after it, adds its own gradient.",
    source="nn.Embedding: weight must be cloned for this to be differentiable",
    when=judged_by("cloned_before", "used_after"),
    modes={"graph"},
    obliges={"over"},
)
def renorm_allows_clones_and_later_uses(case: RenormCase, out: Outcome) -> Finding:
    looked_up, limit = oracle.weight_gradient(case)
    used = 2 * floats(out.before if case.route == "cloned_before" else out.after)
    total = looked_up + used
    u = case.format.unit_roundoff + 2.0**-53
    # w·g + g·w: two products and their sum, then the sum of both paths.
    return within(out.weight_grad, total, limit * (1 + u) + 4 * u * (np.abs(looked_up) + np.abs(used)))


@renorm.law(
    "The derivative of an earlier use of the weight is refused.",
    source="nn.Embedding: tensors needed for gradient computations cannot be modified in-place",
    when=lambda case: case.spent,
    modes={"graph"},
    obliges={"spent"},
    refusal=True,
)
def renorm_refuses_earlier_uses(case: RenormCase, out: Outcome) -> Finding:
    return refuses(out, RuntimeError)


@renorm.law(
    "The table's version moves when its rows are rescaled, and not without max_norm.",
    source="Autograd mechanics: in-place correctness checks",
    modes={"graph", "no_grad"},  # what is made in inference mode has no version
    obliges={"over"},
)
def renorm_moves_the_version(case: RenormCase, out: Outcome) -> Finding:
    if case.max_norm is None:
        return same(out.moved, 0)
    written = bool((out.before.bits != out.after.bits).any())
    if written and out.moved.raw < 1:
        return is_true(out.moved.derived("{} > 0"), "rows were written, but the version stood still")
    return HOLDS


@renorm.law(
    "The indices, and what lies around table and indices, stay as they are; without max_norm the table too.",
    source="F.embedding: this will modify weight in-place",
    obliges={"repeated", "over", "limited"},
)
def renorm_writes_to_the_table_only(case: RenormCase, out: Outcome) -> Finding:
    writes = case.max_norm is not None and SPELLINGS[case.entry].aliases
    calm = case.history in ("weight_changed", "indices_changed")  # which write and put back
    return unwritten(out, *(("weight",) if writes else ())) if not calm or writes else UNASKED


@renorm.law("A second lookup finds the rows rescaled: it moves them by rounding at most.", obliges={"over"})
def renorm_is_idempotent(case: RenormCase, out: Outcome) -> Finding:
    moved = bool((out.before.bits != out.after.bits).any())
    fate = case.after(floats(out.after)) if moved else fate_of(case, out.before)
    return obeys(case, fate, out.after, out.twice)


@renorm.law(
    "The parameter stays a leaf, its requires_grad and the output's are those of any lookup, which is a copy.",
    source="nn.Embedding: max_norm; nn.Parameter",
)
def renorm_keeps_the_parameter(case: RenormCase, out: Outcome) -> Finding:
    return every(
        is_true(out.is_leaf, "the table became part of a graph"),
        is_true(out.separate, "the output shares memory with the table"),
        is_true(out.kept, "backward changed the table") if case.route not in RECOMPUTED else UNASKED,
        same(out.requires_grad, (case.requires_grad or case.entry in LEARNING) and out.makes_graph),
        same(out.leaf_requires_grad, case.requires_grad) if out.makes_graph else UNASKED,
    )


@renorm.law("Modes, default dtype, threads and random numbers stay as they are.", source="no side effects")
def renorm_leaves_surroundings(case: RenormCase, out: Outcome) -> Finding:
    return is_true(out.surroundings, "grad mode, default dtype, threads, determinism or random numbers changed")


@renorm.law(
    "An index outside [0, num_embeddings) is refused, and nothing is written: no row is rescaled.",
    source="nn.Embedding: indices are in [0, num_embeddings - 1]",
    obliges={"refused", "stray=-1", "stray=V", "bag", "index_dtype=int32"},
    when=lambda case: case.refused,
    refusal=True,
)
def renorm_refuses_strays(case: RenormCase, out: Outcome) -> Finding:
    return every(refuses(out, *REFUSALS), unwritten(out))


test_scope, test_product, test_random = renorm.tests()
