"""The space of conversions: every spelling with every assignment, every small table, sizes around the thresholds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Input
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, SHARED, UPSTREAM_LAYOUTS
from embcheck.core.space import Space
from embcheck.families.conversion.aimed import aimed_conversion
from embcheck.families.conversion.assignment import (
    ASSIGNMENTS,
    AT_CALL,
    INTO_PLACE,
    MISTAKES,
    REPLACING,
    mistake,
)
from embcheck.families.conversion.cases import ConversionCase
from embcheck.families.conversion.programs import GRAD_MODES, LATER, SOURCES, convert, new_embedding, new_linear
from embcheck.families.conversion.several import several
from embcheck.families.conversion.transposition import CUTS, SPELLINGS
from embcheck.families.lookup import cases

#: Each source by direction; a linear layer's table is frozen in one way only.
_SOURCES = {
    "to_linear": SOURCES | {"plain": SOURCES["embedding"]},
    "to_embedding": {"plain": SOURCES["linear"], "embedding_frozen": SOURCES["linear_frozen"]},
}
_FLAGS = ("padding_idx", "scale_grad_by_freq", "sparse")


def plan(case: ConversionCase) -> Plan:
    fed = case.inputs()
    if case.mistake is not None:
        rows = case.lookup.format.encode(np.ones((2, case.num_embeddings)))
        options = {"make": MISTAKES[case.mistake], "replaces": case.mistake in REPLACING}
        return Plan(mistake, {"weight": fed["weight"], "x": Input(rows, case.dtype)}, options)
    given = {name: getattr(case, name) for name in _FLAGS if getattr(case, name) is not case._field_defaults[name]}
    options = {
        "make_source": _SOURCES[case.direction][case.source],
        "make_target": new_linear if case.to_linear else new_embedding,
        "grad_mode": GRAD_MODES[case.grad_mode],
        "spelling": SPELLINGS[case.spelling],
        "cut": CUTS[case.cut],
        "assign": ASSIGNMENTS[case.assign],
        "later": LATER[case.later],
        "flags": given,
        "target_frozen": case.target_frozen,
        "bias_frozen": case.bias == "frozen",
        "company": "alone" if case.company == "several" else case.company,
        "autocast": case.autocast,
        "passes": case.passes,
        **({"several": several} if case.company == "several" else {}),
    }
    return Plan(convert, fed, options, case.threads)


def repair(case: ConversionCase) -> ConversionCase | None:
    """The case with axes made to fit each other."""
    changes: dict[str, Any] = {"padding_idx": cases.padding_of(case.padding_idx, case.num_embeddings)}
    small = "wide" if case.dtype == "float64" else "small"  # float32 must not hold what float64 can
    if case.mistake is not None:
        if case.num_embeddings == case.embedding_dim or not case.embedding_dim or case.dtype == "bfloat16":
            return None
        plain = ConversionCase(case.num_embeddings, case.embedding_dim, dtype=case.dtype, layout=case.layout)
        return plain.but(mistake=case.mistake, layout="contiguous" if case.layout == "expanded" else case.layout)
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.values == "special" and case.to_linear:
        changes["values"] = "fingerprint"
    if case.sparse:
        changes |= {"scale_grad_by_freq": False, "values": small}
        if case.dtype in ("float16", "bfloat16"):
            changes["passes"] = 1  # "cadd_sparse" is not implemented for half, nor "add_out_sparse_cpu" for bfloat16
    if case.autocast or case.input_grad:
        changes["values"] = small
    if case.to_linear:
        if case.input == "dense":
            changes["values"] = small
        if case.input == "made":
            changes["input_grad"] = False
        if case.input != "dense" and case.input_layout == "expanded":
            changes["input_layout"] = "strided"
    else:
        changes |= {"input": "one_hot", "input_grad": False}
        if case.source not in ("plain", "embedding_frozen"):
            changes["source"] = "embedding_frozen"
        if case.input_layout == "expanded":
            changes["indices"] = "same"
    if case.assign in AT_CALL and case.later in ("there_and_back", "deepcopied", "moved", "reloaded"):
        changes["later"] = "nothing"
    if not case.embedding_dim and (case.assign in INTO_PLACE or case.assign == "load_assign"):
        changes["assign"] = "attribute"
    if case.spelling == "stack" and not case.memory_shape[0]:
        changes["spelling"] = "cat"
    fitted = case.but(**changes)
    if fitted.upstream_layout in ("expanded", *SHARED) and 4 * 3 * fitted.numel > fitted.computed.largest_integer:
        # More ones than the format can count: let fewer tokens speak.
        fitted = fitted.but(upstream_layout="contiguous")
    usual = fitted.to_linear and fitted.trainable and fitted.input == "one_hot" and fitted.assign not in AT_CALL
    varied = fitted.autocast or fitted.input_grad or fitted.upstream_layout == "expanded"
    if fitted.company == "several" and (not usual or varied or not fitted.numel):
        fitted = fitted.but(company="alone")
    if fitted.numel and fitted.lookup.max_count * fitted.passes > fitted.format.largest_integer:
        fitted = fitted.but(company="alone")
    if fitted.grad_mode == "inference" and (not fitted.but(later="nothing").shares or fitted.assign in INTO_PLACE):
        # A copy made in inference mode is an inference tensor, which autograd ignores; a view of a normal one is not.
        fitted = fitted.but(grad_mode="no_grad")
    return fitted


def scope() -> Iterator[ConversionCase]:
    """Every spelling with every assignment; every small table and shape; every mistake."""
    both = ("to_linear", "to_embedding")
    spelled = (
        ConversionCase(rows, width, direction, spelling=spelling, cut=cut, assign=assign, seed=seed)
        for seed, (direction, (rows, width), spelling, cut, assign) in enumerate(
            itertools.product(both, ((2, 3),), SPELLINGS, CUTS, ASSIGNMENTS)
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
        for (rows, width), name, dtype in itertools.product(((2, 3), (3, 2), (1, 2), (5, 4)), MISTAKES, FORMATS)
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

    # Every rank of a dense input collects.
    for shape in ((), (2,), (2, 1, 2)):
        fitted = repair(ConversionCase(3, 2, "to_linear", shape=shape, input="dense", input_grad=True))
        if fitted is not None:
            yield fitted

    # What is shared is shared whatever its size.
    for seed, (direction, spelling, cut) in enumerate(
        itertools.product(("to_linear", "to_embedding"), SPELLINGS, CUTS)
    ):
        fitted = repair(ConversionCase(64, 17, direction, spelling=spelling, cut=cut, seed=seed))
        if fitted is not None:
            yield fitted


def smaller(case: ConversionCase) -> Iterator[ConversionCase]:
    """Fewer rows, columns and tokens, the boldest cut first; thresholds are found by bisection."""
    sizes = {"num_embeddings": case.num_embeddings, "embedding_dim": case.embedding_dim, "tokens": case.numel}
    for axis, size in sizes.items():
        step = size - 1
        while step > 0:
            yield case.but(shape=(size - step,)) if axis == "tokens" else case.but(**{axis: size - step})
            step //= 2


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
    chosen["mistake"] = draws.choice(tuple(MISTAKES)) if draws.chance(64) else None
    case = ConversionCase(rows, width, shape=shape, seed=draws.between(0, 1 << 20), **chosen)
    return repair(case)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 5, 17),
    "embedding_dim": (2, 1, 3, 0, 5, 17),
    "direction": ("to_linear", "to_embedding"),
    "indices": cases.PATTERN_NAMES,
    "shape": cases.SHAPES,
    "spelling": tuple(SPELLINGS),
    "cut": tuple(CUTS),
    "assign": tuple(ASSIGNMENTS),
    "grad_mode": tuple(GRAD_MODES),
    "source": ("plain", "embedding_frozen", "module_frozen", "from_pretrained", "from_pretrained_open"),
    "target_frozen": (False, True),
    "later": tuple(LATER),
    "company": ("alone", "backward_before", "backward_after", "one_loss"),
    "bias": ("none", "zero", "whole", "frozen"),
    "input": ("one_hot", "made", "dense"),
    "input_grad": (False, True),
    "autocast": (False, True),
    "passes": (1, 2),
    "padding_idx": (None, 0, 1, -1, "last"),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "dtype": tuple(FORMATS),
    "index_dtype": ("int64", "int32"),
    "layout": LAYOUTS,
    "input_layout": LAYOUTS,
    "upstream_layout": UPSTREAM_LAYOUTS,
    "values": ("fingerprint", "small", "special", "wide"),
    "mistake": (None, *MISTAKES),
}


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
