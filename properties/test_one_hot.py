"""one_hot: 1 at the index, 0 elsewhere, for every index tensor and number of classes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck import stream
from embcheck.comparison import described, every, is_true, refuses, same, unwritten
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS, row_major, view_of
from embcheck.lookup import table
from embcheck.lookup.aim_one_hot import aimed_one_hot
from embcheck.lookup.one_hot import CLASSES, COUNTED, ENCODERS, GRAPHS, HISTORIES, OneHotCase, encoded
from embcheck.outcome import Outcome
from embcheck.result import UNASKED, Finding
from embcheck.space import Space

#: What is no LongTensor.
CASTS = ("int64", "int32", "int16", "int8", "uint8", "bool", "float32", "float16", "bfloat16", "float64", "complex64")
#: All entries but the one that takes a second for a call.
PROMPT = tuple(name for name in ENCODERS if name != "compiled")
#: And of those, all but the one that takes ten milliseconds: lists name it, covers and three random cases of four don't.
DIRECT = tuple(name for name in PROMPT if name != "recorded")


def plan(case: OneHotCase) -> Plan:
    options = {
        "encode": ENCODERS[case.entry],
        "history": (HISTORIES | COUNTED)[case.history],
        "classes": case.given,
        "cast": case.cast,
    }
    return Plan(encoded, {"indices": case.index_input}, options, case.threads)


def canonical(case: OneHotCase) -> OneHotCase | None:
    """The case with axes that fit each other."""
    if isinstance(case.indices, tuple) and len(case.indices) != case.numel:
        return None
    changes: dict[str, Any] = {}
    if case.values * case.numel > 1 << 18:
        return None
    if not case.numel or case.cast != "int64":
        changes["stray"] = None
    elif case.inferred and case.stray not in (None, "-1", "-V", "-V-1"):
        changes["stray"] = "-1"  # a larger token only makes more classes
    if case.entry.startswith("vmapped"):
        # What vmap refuses itself (nothing to map over, no number of classes) says nothing of one_hot.
        least = 1 if case.entry == "vmapped" else 2
        if case.inferred or (case.given or 0) <= 0 or len(case.shape) < least or not case.numel:
            changes["entry"] = "functional"
    if case.entry in GRAPHS:
        changes["history"] = "fresh"
        if case.inferred:
            changes["entry"] = "functional"
    fitted = case.but(**changes)
    if fitted.index_layout == "expanded" and fitted.indices in table.PATTERN_NAMES:
        fitted = fitted.but(indices="same")
    if fitted.refused:
        fitted = fitted.but(history="fresh")
    return fitted


def scope() -> Iterator[OneHotCase]:
    """Every sequence of up to 4 tokens of up to 3 values, every shape, every stray, every dtype."""
    small = (
        OneHotCase(values, tokens, (numel,), classes)
        for numel, values in itertools.product(range(5), range(1, 4))
        for tokens in itertools.product(range(values), repeat=numel)
        for classes in CLASSES
    )
    shaped = (
        OneHotCase(4, "permutation", shape, classes, entry=entry, seed=seed)
        for seed, shape in enumerate(table.every_shape())
        for entry in PROMPT
        for classes in ("exact", "omitted", "plus_1")[seed % 3 : seed % 3 + 1]
    )
    strays = (
        OneHotCase(values, "cycle", shape, classes, stray, entry=entry, seed=seed)
        for seed, shape in enumerate(((), (1,), (3,), (2, 2), (1, 2, 2)))
        for values, classes in itertools.product((1, 2, 3), ("exact", "-1", "plus_7"))
        for stray, entry in itertools.product(table.STRAY_AXIS[1:], PROMPT if shape == (2, 2) else DIRECT)
    )
    casts = (
        OneHotCase(3, "cycle", shape, classes, cast=cast, entry=entry)
        for cast, shape, entry in itertools.product(CASTS[1:], ((), (0,), (3,), (2, 2)), ("functional", "recorded"))
        for classes in ("exact", "-1")
    )
    counts = [*((n, "ends", (3,)) for n in range(1, 132)), *((3, "uniform", (n,)) for n in range(1, 132))]
    sizes = (OneHotCase(*size, entry=("functional", "aten")[k % 2], seed=k) for k, size in enumerate(counts))
    return (case for case in map(canonical, itertools.chain(small, shaped, strays, casts, sizes)) if case)


def landmarks() -> Iterator[OneHotCase]:
    """What the obligations ask for, in every profile."""
    for cast, shape in itertools.product(("int64", "int32", "bool", "float32"), ((3,), (0,))):
        yield OneHotCase(2, "cycle", shape, cast=cast, entry="compiled")
    for classes, stray in (("0", None), ("-2", None), ("exact", "V"), ("exact", "-1"), ("minus_1", None)):
        yield OneHotCase(3, "cycle", (2, 2), classes, stray, entry="compiled")
        yield OneHotCase(3, "cycle", (0,), classes, entry="compiled")
    for cast in CASTS[1:]:
        yield OneHotCase(2, "cycle", (3,), cast=cast)
        yield OneHotCase(2, "cycle", (0,), cast=cast)
    for classes, entry in itertools.product(CLASSES, PROMPT):
        yield OneHotCase(3, "permutation", (2, 1, 3, 1), classes, entry=entry)
        yield OneHotCase(5, "ends", (33, 33), classes, entry=entry)
        yield OneHotCase(1025, "ends", (9, 2), classes, entry=entry)
        yield OneHotCase(3, "cycle", (2, 0), classes, entry=entry)
        for stray in table.STRAY_AXIS[1:]:
            yield OneHotCase(3, "cycle", (2, 2, 1), classes, stray, entry=entry)
    for seed, (values, entry) in enumerate(itertools.product(table.EDGES, DIRECT)):
        # The first and the last class, whose numbers 15 or 16 bits count or don't.
        classes, long = ("exact", "omitted", "-1")[seed % 3], (2, *(1,) * (seed % 3))
        yield from filter(None, [canonical(OneHotCase(values, "ends", long, classes, entry=entry, seed=seed))])


AXES: dict[str, tuple[Any, ...]] = {
    "values": (3, 1, 2, 5, 8, 17, 64, 65, 257),
    "indices": tuple(name for name in table.PATTERN_NAMES if name != "padding"),
    "shape": (*table.SHAPES, (65,), (3, 43)),
    "classes": tuple(CLASSES),
    "stray": table.STRAY_AXIS,
    "cast": CASTS,
    "index_layout": LAYOUTS,
    "entry": PROMPT,
    "history": tuple(HISTORIES),
    "threads": (1, 2),
}


def draw(draws: stream.Stream) -> OneHotCase | None:
    """A random case, sizes across the thresholds; few of them refused."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    if not draws.chance(4) and chosen["entry"] == "recorded":
        chosen["entry"] = "functional"
    if not draws.chance(8):
        chosen |= {"stray": None, "cast": "int64", "classes": draws.choice(tuple(CLASSES)[:5])}
    elif draws.chance(2):
        chosen["cast"] = "int64"
    if draws.chance(4):
        numel = draws.choice(table.TOKENS)
        values = draws.choice(table.ROWS) if numel < 65 else 1 + numel % 9
        chosen |= {"shape": table.spread(numel, draws), "values": values}
    return canonical(OneHotCase(**chosen, seed=draws.between(0, 1 << 20)))


def smaller(case: OneHotCase) -> Iterator[OneHotCase]:
    """Fewer values and tokens."""
    for less in {1, 2, case.values // 2, case.values - 1}:
        if 0 < less < case.values:
            yield case.but(values=less)
    if isinstance(case.indices, str):
        for less in sorted({0, 1, case.numel // 2, case.numel - 1}):
            if 0 <= less < case.numel:
                yield case.but(shape=(less,))


one_hot = Family(
    "one_hot",
    Space(
        OneHotCase,
        # What must be refused is listed by the scope and drawn at random: a cover would consist of little else.
        {name: v for name, v in AXES.items() if name not in ("stray", "cast")}
        | {"classes": tuple(CLASSES)[:5], "entry": DIRECT},
        canonical,
        scope,
        landmarks,
        flags=("classes", "entry", "index_layout", "history"),
        base={"shape": (2, 3)},
        draw=draw,
        smaller=smaller,
        aim=aimed_one_hot,
        aims=0.5,
        strength=2,
    ),
    plan,
    modes=("eager", "no_grad", "inference"),
    refused=lambda case: case.refused,
)


@one_hot.law(
    "one_hot(i) is 1 at i and 0 elsewhere.",
    source="F.one_hot: zeros everywhere except where the index matches, in which case it will be 1",
    obliges={"empty", "rank>=4", "first_class", "last_class", "inferred", "spare", "numel>1000", "width>1000",
             "vmapped", "classes=omitted", "classes=-1"},
)  # fmt: skip
def one_hot_is_one_at_the_index(case: OneHotCase, out: Outcome) -> Finding:
    return same(out.value, case.expected)


@one_hot.law(
    "The output has the index's shape and num_classes behind it; without one, that is the largest index + 1.",
    source="F.one_hot: shape (*, num_classes); num_classes: inferred as one greater than the largest class value",
    obliges={"empty", "inferred", "rank>=4"},
)
def one_hot_has_shape(case: OneHotCase, out: Outcome) -> Finding:
    return described(out.value, shape=(*case.shape, case.width))


def strides_are_told(case: OneHotCase) -> bool:
    """Whether the output's strides are those of one_hot itself.

    A graph computes eq(index, classes).  An elementwise operation lays its result out as its operand lies, and no
    document promises a graph the strides of what it records, so that those are open of an index that is not contiguous.
    """
    if case.facts()["vmapped"] or (case.entry in GRAPHS and not case.numel):
        return False
    return case.entry not in GRAPHS or view_of(case.shape, case.index_layout).strides == row_major(case.shape)


@one_hot.law(
    "The output is a LongTensor without gradient: dense, contiguous, on the CPU.",
    source="F.one_hot: Returns LongTensor",
)
def one_hot_is_a_long_tensor(case: OneHotCase, out: Outcome) -> Finding:
    return every(
        is_true(out.plain, "the output is no plain Tensor"),
        described(out.value, dtype="int64", device="cpu", layout="strided", requires_grad=False, is_leaf=True),
        described(out.value, stride=row_major((*case.shape, case.width)), _is_view=False)
        if strides_are_told(case)
        else UNASKED,
    )


@one_hot.law("What an earlier call returned stays as it was.", source="no aliasing between calls", metadata=True)
def one_hot_leaves_earlier_outputs(case: OneHotCase, out: Outcome) -> Finding:
    return is_true(out.held, "an earlier result was overwritten") if "held" in out else UNASKED


@one_hot.law(
    "Each one_hot(i) sums to 1.", source="F.one_hot: a one-hot vector", implied_by="one_hot_is_one_at_the_index"
)
def one_hot_sums_to_one(case: OneHotCase, out: Outcome) -> Finding:
    return same(out.sums, np.ones(case.shape, np.int64))


@one_hot.law("The output has memory of its own.", source="F.one_hot: returns a tensor")
def one_hot_is_a_copy(case: OneHotCase, out: Outcome) -> Finding:
    return is_true(out.separate, "the output shares memory with the index")


@one_hot.law("The indices, their surroundings and version stay as they are.", source="no side effects")
def one_hot_writes_nothing(case: OneHotCase, out: Outcome) -> Finding:
    return every(unwritten(out), is_true(out.kept, "the index or its version changed"))


@one_hot.law("Modes, default dtype, threads and random numbers stay as they are.", source="no side effects")
def one_hot_leaves_surroundings(case: OneHotCase, out: Outcome) -> Finding:
    return is_true(out.surroundings, "grad mode, default dtype, threads, determinism or random numbers changed")


@one_hot.law(
    "What is no LongTensor, a token outside [0, num_classes), or no class at all is refused, and nothing is written.",
    source="F.one_hot: Takes LongTensor with index values; num_classes: total number of classes",
    obliges={"refused", "stray=-1", "stray=V", "classes=0", "classes=-2", "cast=int32", "cast=float32", "cast=bool",
             "empty"},
    refusal=True,
)  # fmt: skip
def one_hot_refuses(case: OneHotCase, out: Outcome) -> Finding:
    return every(refuses(out, RuntimeError), unwritten(out))


test_scope, test_product, test_random = one_hot.tests()
