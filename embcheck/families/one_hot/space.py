"""Which cases of one_hot there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.lookup import cases
from embcheck.families.lookup.aimed_tokens import attempts
from embcheck.families.one_hot.aimed import LARGEST, one_hot_case
from embcheck.families.one_hot.programs import CLASSES, COUNTED, ENCODERS, GRAPHS, HISTORIES, OneHotCase, encoded
from embcheck.families.one_hot.several import several

#: What is no LongTensor.
CASTS = ("int64", "int32", "int16", "int8", "uint8", "bool", "float32", "float16", "bfloat16", "float64", "complex64")


#: All entries but the one that takes a second for a call.
PROMPT = tuple(name for name in ENCODERS if name != "compiled")


#: And of those, all but the one that takes ten milliseconds: lists name it, covers and three random cases of four don't.
DIRECT = tuple(name for name in PROMPT if name != "recorded")


def plan(case: OneHotCase) -> Plan:
    options = {
        "encode": ENCODERS[case.entry],
        "history": (HISTORIES | COUNTED)["fresh" if case.history == "several" else case.history],
        **({"several": several} if case.history == "several" else {}),
        "classes": case.given,
        "cast": case.cast,
    }
    return Plan(encoded, {"indices": case.index_input}, options, case.threads)


def repair(case: OneHotCase) -> OneHotCase | None:
    """The case with axes that fit each other."""
    if isinstance(case.indices, tuple) and len(case.indices) != case.numel:
        return None
    changes: dict[str, Any] = {}
    if case.values * case.numel > LARGEST:
        return None
    if not case.numel or case.cast != "int64":
        changes["out_of_range"] = None
    elif case.inferred and case.out_of_range not in (None, "-1", "-V", "-V-1"):
        changes["out_of_range"] = "-1"  # a larger token only makes more classes
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
    if fitted.index_layout == "expanded" and fitted.indices in cases.PATTERN_NAMES:
        fitted = fitted.but(indices="same")
    if fitted.refused or (fitted.history == "several" and fitted.entry.startswith("vmapped")):
        fitted = fitted.but(history="fresh")
    return fitted


def scope() -> Iterator[OneHotCase]:
    """Every sequence of up to 4 tokens of up to 3 values, every shape, every out_of_range, every dtype."""
    small = (
        OneHotCase(values, tokens, (numel,), classes)
        for numel, values in itertools.product(range(5), range(1, 4))
        for tokens in itertools.product(range(values), repeat=numel)
        for classes in CLASSES
    )
    shaped = (
        OneHotCase(4, "permutation", shape, classes, entry=entry, seed=seed)
        for seed, shape in enumerate(cases.every_shape())
        for entry in PROMPT
        for classes in ("exact", "omitted", "plus_1")[seed % 3 : seed % 3 + 1]
    )
    strays = (
        OneHotCase(values, "cycle", shape, classes, out_of_range, entry=entry, seed=seed)
        for seed, shape in enumerate(((), (1,), (3,), (2, 2), (1, 2, 2)))
        for values, classes in itertools.product((1, 2, 3), ("exact", "-1", "plus_7"))
        for out_of_range, entry in itertools.product(cases.STRAY_AXIS[1:], PROMPT if shape == (2, 2) else DIRECT)
    )
    casts = (
        OneHotCase(3, "cycle", shape, classes, cast=cast, entry=entry)
        for cast, shape, entry in itertools.product(CASTS[1:], ((), (0,), (3,), (2, 2)), ("functional", "recorded"))
        for classes in ("exact", "-1")
    )
    counts = [*((n, "ends", (3,)) for n in range(1, 132)), *((3, "uniform", (n,)) for n in range(1, 132))]
    sizes = (OneHotCase(*size, entry=("functional", "aten")[k % 2], seed=k) for k, size in enumerate(counts))
    return (case for case in map(repair, itertools.chain(small, shaped, strays, casts, sizes)) if case)


def fixed_cases() -> Iterator[OneHotCase]:
    """What the obligations ask for, in every profile."""
    for cast, shape in itertools.product(("int64", "int32", "bool", "float32"), ((3,), (0,))):
        yield OneHotCase(2, "cycle", shape, cast=cast, entry="compiled")
    for classes, out_of_range in (("0", None), ("-2", None), ("exact", "V"), ("exact", "-1"), ("minus_1", None)):
        yield OneHotCase(3, "cycle", (2, 2), classes, out_of_range, entry="compiled")
        yield OneHotCase(3, "cycle", (0,), classes, entry="compiled")
    for cast in CASTS[1:]:
        yield OneHotCase(2, "cycle", (3,), cast=cast)
        yield OneHotCase(2, "cycle", (0,), cast=cast)
    for classes, entry in itertools.product(CLASSES, PROMPT):
        yield OneHotCase(3, "permutation", (2, 1, 3, 1), classes, entry=entry)
        yield OneHotCase(5, "ends", (33, 33), classes, entry=entry)
        yield OneHotCase(1025, "ends", (9, 2), classes, entry=entry)
        yield OneHotCase(3, "cycle", (2, 0), classes, entry=entry)
        for out_of_range in cases.STRAY_AXIS[1:]:
            yield OneHotCase(3, "cycle", (2, 2, 1), classes, out_of_range, entry=entry)
    for seed, (numel, entry) in enumerate(itertools.product(cases.EDGES[1::2], DIRECT)):
        # More tokens than 15 or 16 bits count.
        yield OneHotCase(3, "uniform", (numel,), entry=entry, seed=seed)
    for seed, (values, entry) in enumerate(itertools.product(cases.EDGES, DIRECT)):
        # The first and the last class, whose numbers 15 or 16 bits count or don't.
        classes, long = ("exact", "omitted", "-1")[seed % 3], (2, *(1,) * (seed % 3))
        yield from filter(None, [repair(OneHotCase(values, "ends", long, classes, entry=entry, seed=seed))])


AXES: dict[str, tuple[Any, ...]] = {
    "values": (3, 1, 2, 5, 8, 17, 64, 65, 257),
    "indices": tuple(name for name in cases.PATTERN_NAMES if name != "padding"),
    "shape": (*cases.SHAPES, (65,), (3, 43)),
    "classes": tuple(CLASSES),
    "out_of_range": cases.STRAY_AXIS,
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
        chosen |= {"out_of_range": None, "cast": "int64", "classes": draws.choice(tuple(CLASSES)[:5])}
    elif draws.chance(2):
        chosen["cast"] = "int64"
    if draws.chance(4):
        numel = draws.choice(cases.TOKENS)
        values = draws.choice(cases.ROWS) if numel < 65 else 1 + numel % 9
        chosen |= {"shape": cases.spread(numel, draws), "values": values}
    return repair(OneHotCase(**chosen, seed=draws.between(0, 1 << 20)))


def smaller(case: OneHotCase) -> Iterator[OneHotCase]:
    """Fewer values and tokens."""
    for less in {1, 2, case.values // 2, case.values - 1}:
        if 0 < less < case.values:
            yield case.but(values=less)
    if isinstance(case.indices, str):
        for less in sorted({0, 1, case.numel // 2, case.numel - 1}):
            if 0 <= less < case.numel:
                yield case.but(shape=(less,))


SPACE = Space(
    OneHotCase,
    # What must be refused is listed by the scope and drawn at random: a cover would consist of little else.
    {name: v for name, v in AXES.items() if name not in ("out_of_range", "cast")}
    | {"classes": tuple(CLASSES)[:5], "entry": DIRECT},
    repair,
    scope,
    fixed_cases,
    flags=("classes", "entry", "index_layout", "history"),
    base={"shape": (2, 3)},
    draw=draw,
    smaller=smaller,
    aim=lambda wish: attempts(wish, one_hot_case),
    aims=0.75,
    strength=2,
)
