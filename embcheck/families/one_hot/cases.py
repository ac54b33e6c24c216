"""The cases of one_hot, what each should give, and which program runs it."""

import itertools
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Input, OfTokens, values_of
from embcheck.core.case import Ints
from embcheck.core.counts import tokens_of
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, fitting
from embcheck.core.pattern import stray_of
from embcheck.core.space import Space
from embcheck.core.targets import Unmet, Wish
from embcheck.families.lookup import cases
from embcheck.families.lookup.aimed_tokens import attempts, tokens
from embcheck.families.one_hot.programs import COUNTED, ENCODERS, GRAPHS, HISTORIES, encoded, several

#: What is no LongTensor.
CASTS = ("int64", "int32", "int16", "int8", "uint8", "bool", "float32", "float16", "bfloat16", "float64", "complex64")
#: All entries but the one that takes a second for a call.
PROMPT = tuple(name for name in ENCODERS if name != "compiled")
#: And of those, all but the one that takes ten milliseconds: lists name it, covers and three random cases of four don't.
DIRECT = tuple(name for name in PROMPT if name != "recorded")
PATTERNS = tuple(name for name in cases.PATTERN_NAMES if name != "padding")
#: num_classes by name, as a function of the number of values that tokens may take; None leaves it out.
CLASSES: dict[str, Callable[[int], int | None]] = {
    "exact": lambda values: values,
    "omitted": lambda values: None,
    "-1": lambda values: -1,
    "plus_1": lambda values: values + 1,
    "plus_7": lambda values: values + 7,
    "0": lambda values: 0,
    "-2": lambda values: -2,
    "-V": lambda values: -values - 1,
    "minus_1": lambda values: values - 1,
}
INFERRED = ("omitted", "-1")


class OneHotCase(OfTokens):
    """one_hot of ``shape`` tokens, with ``num_classes`` as ``classes`` names it."""

    #: tokens lie in [0, values)
    values: Annotated[int, (3, 1, 2, 5, 8, 17, 64, 65, 257)] = 3
    #: the name of a pattern, or the token values themselves in row-major order
    indices: Annotated[str | tuple[int, ...], PATTERNS] = "cycle"
    shape: Annotated[tuple[int, ...], (*cases.SHAPES, (65,), (3, 43))] = (3,)
    classes: Annotated[str, tuple(CLASSES)] = "exact"
    out_of_range: Annotated[str | None, cases.STRAY_AXIS] = None
    #: the dtype of the tokens
    cast: Annotated[str, CASTS] = "int64"
    index_layout: Annotated[str, LAYOUTS] = "contiguous"
    entry: Annotated[str, PROMPT] = "functional"
    history: Annotated[str, tuple(HISTORIES)] = "fresh"
    threads: Annotated[int, (1, 2)] = 1
    seed: int = 0

    @cached_property
    def tokens(self) -> Ints:
        """The token values, row-major, the stray one among them; shape ``(numel,)``."""
        if isinstance(self.indices, tuple):
            tokens = np.array(self.indices, np.int64)
        else:
            tokens = tokens_of(self.indices, self.numel, self.values, None, self.seed)
        if self.out_of_range is not None and self.numel:
            tokens = tokens.copy()
            tokens[self.seed % self.numel] = stray_of(self.out_of_range, self.given or self.values, self.cast)
        return tokens

    @property
    def given(self) -> int | None:
        """The argument num_classes, None where it is left out."""
        return CLASSES[self.classes](self.values)

    @property
    def inferred(self) -> bool:
        """Whether num_classes is left to be found."""
        return self.classes in INFERRED

    @cached_property
    def width(self) -> int:
        """num_classes as it should come out: what is given, else one more than the largest token."""
        if not self.inferred:
            return self.given or 0
        return int(self.tokens.max()) + 1 if self.numel else 0

    @cached_property
    def refused(self) -> bool:
        """Whether one_hot must raise: no LongTensor, no class, or a token outside of [0, num_classes)."""
        if self.cast != "int64" or self.width <= 0:
            return True
        tokens = self.tokens
        return bool(tokens.size) and bool(tokens.min() < 0 or tokens.max() >= self.width)

    @cached_property
    def expected(self) -> npt.NDArray[np.int64]:
        """1 at the token, 0 elsewhere, shape ``(*shape, num_classes)``."""
        hot = np.equal(self.tokens[:, None], np.arange(self.width)).astype(np.int64)
        return hot.reshape(*self.shape, self.width)

    @property
    def index_input(self) -> Input:
        stored = self.tokens.reshape(self.shape)
        return Input(stored, "int64", fitting(self.index_layout, stored))

    def facts(self) -> dict[str, Any]:
        tokens = self.tokens
        return {
            **self.axes,
            **{name: getattr(self, name) for name in ("numel", "width", "refused", "inferred")},
            "rank": len(self.shape),
            "empty": not self.numel,
            "first_class": bool((tokens == 0).any()),
            "last_class": bool((tokens == self.width - 1).any()),
            "spare": self.width > self.values,
            "vmapped": self.entry.startswith("vmapped"),
            "strayed": self.cast == "int64" and self.width > 0 and self.refused,
            "miscast": self.cast != "int64",
        }


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
        yield OneHotCase(values, "ends", long, classes, entry=entry, seed=seed)


AXES = values_of(OneHotCase)


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
    for less in {1, 2, case.values // 2, case.values - 1}:
        if 0 < less < case.values:
            yield case.but(values=less)
    if isinstance(case.indices, str):
        for less in sorted({0, 1, case.numel // 2, case.numel - 1}):
            if 0 <= less < case.numel:
                yield case.but(shape=(less,))


# -- what is aimed, tokens as in `embcheck.families.lookup.aimed_tokens` ----------------------------------------------

#: So many elements a result may have, and where nothing is wished of its size.
LARGEST, USUAL = 1 << 20, 1 << 16
_EARLIER = ("fresh", "once_alike", "third_alike", "thrice_alike")


def one_hot_case(wish: Wish) -> OneHotCase:
    """A one_hot as wished.  Raises Unmet if this draw comes to none."""
    inferred = wish.choice("inferred", (False, True))
    given = tokens(wish, paddings=False)
    earlier = wish.number("earlier", (*(0,) * 6, 1, 2, 3), 0, 3)
    case = OneHotCase(
        given.num_embeddings, given.indices, given.shape,
        wish.draws.choice(("omitted", "-1")) if inferred else "exact", index_layout=given.index_layout,
        history=_EARLIER[earlier], threads=wish.number("threads", (1, 1, 1, 2), 1, 2),
        seed=given.seed,
    )  # fmt: skip
    most = LARGEST if wish.asks_any("numel", "num_classes", "num_embeddings") else USUAL
    if case.values * case.numel > most or not wish.met({"num_classes": case.width}):
        raise Unmet("num_classes")
    several = case.history == "fresh" and case.values * case.numel <= USUAL and wish.draws.chance(4)
    return case.but(history="several") if several else case


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
