"""The space of conversions: every spelling with every assignment, every small table, sizes around the thresholds."""

import itertools
from collections.abc import Iterator

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Input, values_of
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import SHARED
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space
from embcheck.core.targets import Unmet, Wish
from embcheck.families.conversion import assignment, programs
from embcheck.families.conversion.cases import ConversionCase
from embcheck.families.lookup import cases
from embcheck.families.lookup.aimed import layout_of, may_be_several
from embcheck.families.lookup.aimed_tokens import attempts

#: Each source by direction; a linear layer's table is frozen in one way only.
_SOURCES = {
    "to_linear": programs.SOURCES | {"plain": programs.SOURCES["embedding"]},
    "to_embedding": {"plain": programs.SOURCES["linear"], "embedding_frozen": programs.SOURCES["linear_frozen"]},
}


def plan(case: ConversionCase) -> Plan:
    fed = case.inputs()
    if case.mistake is not None:
        rows = case.lookup.format.encode(np.ones((2, case.num_embeddings)))
        options = {"make": assignment.MISTAKES[case.mistake], "replaces": case.mistake in assignment.REPLACING}
        return Plan(assignment.mistake, {"weight": fed["weight"], "x": Input(rows, case.dtype)}, options)
    options = {
        "make_source": _SOURCES[case.direction][case.source],
        "make_target": programs.new_linear if case.to_linear else programs.new_embedding,
        "grad_mode": programs.GRAD_MODES[case.grad_mode],
        "spelling": assignment.SPELLINGS[case.spelling],
        "cut": assignment.CUTS[case.cut],
        "assign": assignment.ASSIGNMENTS[case.assign],
        "later": programs.LATER[case.later],
        "flags": case.keywords("padding_idx", "scale_grad_by_freq", "sparse"),
        "company": "alone" if case.company == "several" else case.company,
        "frozen": (case.target_frozen, case.bias == "frozen"),
        "autocast": case.autocast,
        "passes": case.passes,
        **({"several": programs.several} if case.company == "several" else {}),
        **({"beside": "row" if case.by_row else "derivatives"} if case.by_row or case.derives else {}),
    }
    return Plan(programs.convert, fed, options, case.threads)


def repair(case: ConversionCase) -> ConversionCase | None:
    if case.mistake is not None:
        if case.num_embeddings == case.embedding_dim or not case.embedding_dim or case.dtype == "bfloat16":
            return None
        plain = ConversionCase(case.num_embeddings, case.embedding_dim, dtype=case.dtype, layout=case.layout)
        return plain.but(mistake=case.mistake, layout="contiguous" if case.layout == "expanded" else case.layout)
    return fitted(case.but(padding_idx=cases.padding_of(case.padding_idx, case.num_embeddings)), _RULES)


def _adds_exactly(case: ConversionCase) -> bool:
    """Whether values are to be so small that products of them are exact."""
    return case.sparse or case.input_grad or (case.to_linear and (case.autocast is not False or case.input == "dense"))


def _may_vary(case: ConversionCase) -> bool:
    """Whether a layer may be called in several ways before it is judged."""
    fed = case.input == "one_hot" and not case.input_grad and case.upstream_layout != "expanded"
    learns = case.trainable and not case.autocast and case.assign not in assignment.AT_CALL
    return case.to_linear and case.numel > 0 and fed and learns


_RULES: tuple[Rule, ...] = (
    (lambda c: c.layout == "expanded", {"layout": "column_slice"}),
    (lambda c: c.values == "special" and c.to_linear, {"values": "fingerprint"}),
    (lambda c: c.sparse, {"scale_grad_by_freq": False}),
    # "cadd_sparse" is not implemented for half, nor "add_out_sparse_cpu" for bfloat16.
    (lambda c: c.sparse and c.dtype in ("float16", "bfloat16"), {"passes": 1}),
    (lambda c: _adds_exactly(c) and c.dtype != "float64", {"values": "small"}),
    (lambda c: _adds_exactly(c) and c.dtype == "float64", {"values": "wide"}),  # which float32 must not hold
    (lambda c: not c.to_linear, {"input": "one_hot", "input_grad": False}),
    (lambda c: c.input == "made", {"input_grad": False}),
    (lambda c: c.to_linear and c.input != "dense" and c.input_layout == "expanded", {"input_layout": "strided"}),
    (lambda c: not c.to_linear and c.source != "plain", {"source": "embedding_frozen"}),
    (lambda c: not c.to_linear and c.input_layout == "expanded", {"indices": "same"}),
    (
        lambda c: c.assign in assignment.AT_CALL and c.later in ("there_and_back", "deepcopied", "reloaded"),
        {"later": "nothing"},
    ),
    (lambda c: not c.embedding_dim and c.assign in (*assignment.INTO_PLACE, "load_assign"), {"assign": "attribute"}),
    # More ones than the format can count: let fewer tokens speak.
    (
        lambda c: c.upstream_layout in ("expanded", *SHARED) and 4 * 3 * c.numel > c.computed.largest_integer,
        {"upstream_layout": "contiguous"},
    ),
    (lambda c: c.company == "several" and not _may_vary(c), {"company": "alone"}),
    (lambda c: c.numel and c.lookup.max_count * c.passes > c.format.largest_integer, {"company": "alone"}),
    # A copy made in inference mode is an inference tensor, which autograd ignores; a view of a normal one is not.
    (
        lambda c: (
            c.grad_mode == "inference" and (not c.but(later="nothing").shares or c.assign in assignment.INTO_PLACE)
        ),
        {"grad_mode": "no_grad"},
    ),
)


def scope() -> Iterator[ConversionCase]:
    """Every spelling with every assignment; every small table and shape; every mistake."""
    both = ("to_linear", "to_embedding")
    spelled = (
        ConversionCase(rows, width, direction, spelling=spelling, cut=cut, assign=assign, seed=seed)
        for seed, (direction, (rows, width), spelling, cut, assign) in enumerate(
            itertools.product(both, ((2, 3),), assignment.SPELLINGS, assignment.CUTS, assignment.ASSIGNMENTS)
        )
    )
    shaped = (
        ConversionCase(rows, width, direction, "ends", shape, bias=bias, layout=layout)
        for rows, width in itertools.product(range(1, 4), range(4))
        for shape in cases.SHAPES
        for direction in both
        for bias, layout in (("none", "contiguous"), ("whole", "transposed"))
    )
    mistaken = (
        ConversionCase(rows, width, mistake=name, dtype=dtype)
        for (rows, width), name, dtype in itertools.product(
            ((2, 3), (3, 2), (1, 2), (5, 4)), assignment.MISTAKES, FORMATS
        )
    )
    return (case for case in map(repair, itertools.chain(spelled, shaped, mistaken)) if case is not None)


def fixed_cases() -> Iterator[ConversionCase]:
    """The sizes on both sides of each threshold, one axis at a time and two together, in both directions."""
    for seed, size in enumerate((16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 257, 1000, 1001, 1025, 1031)):
        for direction, bias in (("to_linear", "whole"), ("to_linear", "none"), ("to_embedding", "none")):
            for rows, width, tokens in ((size, 3, 5), (3, size, 5), (5, 3, size), (size, 2, size), (2, size, size)):
                yield ConversionCase(
                    rows, width, direction, "uniform", (tokens,), bias=bias, input_grad=bool(seed % 2), seed=seed
                )

    # Every rank of a dense input collects, and is derived in forward mode and twice.
    for shape, bias in itertools.product(((), (2,), (2, 2), (2, 1, 2)), ("whole", "none")):
        yield ConversionCase(3, 2, "to_linear", shape=shape, bias=bias, input="dense", input_grad=True, seed=1)
    # One whose first two axes were exchanged.
    yield ConversionCase(3, 2, "to_linear", shape=(2, 3), bias="whole", input="dense", input_layout="swapped")

    # What is shared is shared whatever its size.
    for seed, (direction, spelling, cut) in enumerate(
        itertools.product(("to_linear", "to_embedding"), assignment.SPELLINGS, assignment.CUTS)
    ):
        yield ConversionCase(64, 17, direction, spelling=spelling, cut=cut, seed=seed)

    # Longer sums than those thresholds, in the product, in its weight's gradient and in its input's.
    for rows, width, tokens in ((4097, 3, 5), (5, 3, 4097), (3, 4097, 5)):
        for learns in (False, True):
            yield ConversionCase(rows, width, "to_linear", "uniform", (tokens,), bias="whole", input_grad=learns)


def smaller(case: ConversionCase) -> Iterator[ConversionCase]:
    """Fewer rows, columns and tokens, the boldest cut first; thresholds are found by bisection."""
    sizes = {"num_embeddings": case.num_embeddings, "embedding_dim": case.embedding_dim, "tokens": case.numel}
    for axis, size in sizes.items():
        for less in cases.towards(size, 1):
            yield case.but(shape=(less,)) if axis == "tokens" else case.but(**{axis: less})


#: On both sides of where kernels change their path.
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 999, 1000, 1001,
         1025)  # fmt: skip


def draw(draws: stream.Stream) -> ConversionCase | None:
    """A random case: sizes from both sides of the thresholds, square tables often."""
    tokens, rows, width = (draws.choice(SIZES if draws.chance(3) else SIZES[:9]) for _ in range(3))
    if draws.chance(4):
        width = rows
    if draws.chance(24):
        width = 0
    while max(tokens * rows, rows * width, tokens * width) > 1 << 15:
        tokens, rows, width = (min(tokens, 65), rows, width) if draws.chance(2) else (tokens, rows % 40 + 1, width % 40)
    chosen = {
        name: draws.choice(values) if draws.chance(2) else values[0]
        for name, values in AXES.items()
        if name not in ("num_embeddings", "embedding_dim", "shape", "mistake")
    }
    shape = cases.spread(0 if draws.chance(32) else tokens, draws)
    chosen["mistake"] = draws.choice(tuple(assignment.MISTAKES)) if draws.chance(64) else None
    case = ConversionCase(rows, width, shape=shape, seed=draws.between(0, 1 << 20), **chosen)
    return repair(case)


_AIMED_SIZES = (1, 2, 3, 7, 8, 17, 33, 65, 129)
#: Sizes behind a threshold that a product of two of _AIMED_SIZES does not cross, each for one draw in four.
LARGE = {"rows": (769,), "inner": (257, 32), "columns": (257,)}
#: The largest input and the largest table or output, in elements.
LARGEST_INPUT, LARGEST = 1 << 16, 1 << 18


def linear_case(wish: Wish, biases: tuple[str, ...] = ("whole", "frozen")) -> ConversionCase:
    """A table that became a linear layer's weight, called with one-hot rows × inner to give rows × columns.
    Raises Unmet if this draw comes to none."""
    draws = wish.draws
    large = draws.choice((*LARGE, "", "", "", "", ""))
    rows, inner, columns = (
        wish.number(name, LARGE[name] if name == large else _AIMED_SIZES, 1) for name in ("rows", "inner", "columns")
    )
    if rows * inner > LARGEST_INPUT or max(rows, inner) * columns > LARGEST:
        raise Unmet("rows")
    if not wish.met({"square": rows == inner == columns}):
        raise Unmet("square")
    dtype, earlier = wish.choice("dtype", tuple(FORMATS)), wish.number("earlier", (0, 0, 1, 2, 3), 0, 3)
    flat = wish.meets("right_layout", "contiguous") or wish.meets("right_layout", "transposed")
    threads = wish.number("threads", (1, 1, 1, 2), 1, 2)
    several = may_be_several(wish, earlier) and threads == 1  # many products of two threads each take long
    return ConversionCase(
        inner,
        columns,
        indices=draws.choice(("uniform", "unequal", "permutation", "ends")),
        shape=(rows,),
        bias=draws.choice(biases),
        dtype=dtype,
        layout="contiguous" if flat and draws.chance(2) else layout_of(wish, "right_layout"),
        input_layout=layout_of(wish, "left_layout"),
        threads=threads,
        input="dense" if inner == 1 else "one_hot",  # of which all rows are alike
        passes=1 if several else earlier + 1,
        company="several" if several else "alone",
        values=draws.choice(("fingerprint", "wide" if dtype == "float64" else "real")),
        seed=draws.between(0, 1 << 20),
    )


def aimed_conversion(wish: Wish) -> ConversionCase | None:
    """A linear layer's call with a bias or, one in three, without."""
    biases = ("none",) if wish.draws.chance(3) else ("whole", "frozen")
    return attempts(wish, lambda wish: linear_case(wish, biases))


AXES = values_of(ConversionCase)

SPACE = Space(
    ConversionCase,
    {name: values for name, values in AXES.items() if name != "mistake"},
    repair,
    scope,
    fixed_cases,
    flags=("direction", "source", "target_frozen", "company", "bias", "input_grad", "autocast", "dtype"),
    base={"num_embeddings": 3, "embedding_dim": 3, "shape": (2, 2)},
    draw=draw,
    smaller=smaller,
    strength=2,
    aim=aimed_conversion,
    aims=0.5,
)
