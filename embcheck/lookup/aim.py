"""Cases of lookups that are aimed: each fact that a kernel's path may hang on is drawn from its thresholds, or as is wished.

Where `embcheck.lookup.table` draws axes, this draws what follows from them: exact counts of tokens and of padding, sizes,
strides and earlier calls, all at once, so that each case crosses many thresholds together.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from embcheck.case import Case
from embcheck.counted import Counts, told
from embcheck.format import FORMATS
from embcheck.wish import Unmet, Wish

#: Sizes on both sides of thresholds that kernels have had (ATen's sources and the bugs of the past); small ones more often.
NUMELS = (1, 2, 3, 9, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 512, 513, 768, 769, 1000, 1001, 3073)
ROWS = (1, 2, 3, 9, 16, 17, 64, 65, 256, 257, 999, 1000, 1001, 2001)
WIDTHS = (1, 2, 3, 7, 8, 16, 17, 31, 32, 33, 64, 65, 128, 129, 512, 513)
COUNTS = (1, 2, 2, 3, 3, 10, 11, 20, 21, 65, 257, 2049)
PADDED = (0, 1, 2, 3, 17, 257)
#: A case has at most so many elements of table or output, where nothing larger is wished; the second one in four times.
LARGEST = (1 << 14, 1 << 17)
#: Facts that say, or exclude, that all tokens are padding.
ALL_PADDING = ("all_padding", "padding_hit", "unequal_counts", "last_row", "first_row")
#: How often a wish is drawn anew before it is given up.
TRIES = 60

#: Layouts by the strides that a kernel sees.
_OF_TABLES = {
    "contiguous": ("contiguous", "offset"),
    "rows_strided": ("column_slice", "row_strided"),
    "transposed": ("transposed",),
    "strided": ("strided",),
}
STRIDES = ("contiguous", "contiguous", "contiguous", *_OF_TABLES)
#: Histories of so many earlier calls.
EARLIER = (
    ("fresh", "fresh"),
    ("once_alike", "once_alike", "once_longer"),
    ("twice_alike", "twice_alike", "twice_longer"),
    ("thrice_alike", "thrice_alike", "thrice_longer"),
)


class Tokens(NamedTuple):
    """Tokens of a table: the axes of a case that say them."""

    num_embeddings: int
    shape: tuple[int, ...]
    indices: str
    padding_idx: int | None
    index_dtype: str
    index_layout: str
    seed: int

    @property
    def numel(self) -> int:
        """How many there are."""
        return math.prod(self.shape)


def attempts(wish: Wish, build: Any) -> Any:
    """What ``build`` makes of a wish, drawn anew until it is met; None if it never is."""
    for _ in range(TRIES):
        try:
            return build(wish)
        except Unmet:
            continue
    return None


def layout_of(wish: Wish, fact: str, strides: tuple[str, ...] = STRIDES) -> str:
    """A layout with strides that are wished."""
    return wish.draws.choice(_OF_TABLES[wish.choice(fact, strides)])


# -- tokens -------------------------------------------------------------------------------------------------------------


def tokens(
    wish: Wish, ranks: tuple[int, ...] = (1, 1, 2, 3, 0), numels: tuple[int, ...] = NUMELS, paddings: bool = True
) -> Tokens:
    """Tokens as wished.

    Raises:
        Unmet: if this draw comes to none.
    """
    draws = wish.draws
    rank = wish.choice("rank", ranks)
    strides = wish.choice("index_layout", _strides(rank))
    numel = 1 if rank == 0 else wish.number("numel", numels, 1)
    order = wish.draws.choice(_orders(wish))
    alike = (strides == "expanded" and (rank == 1 or _copies(numel) == 1)) or bool(
        wish.asks("all_padding") and not wish.meets("all_padding", False)
    )
    rows = wish.number("num_embeddings", ROWS, 1)
    place = wish.choice("padding", _places(rows)) if paddings else "none"
    if place != "none" and not wish.asks_any("max_count", "padding_count", *ALL_PADDING) and order == "runs":
        alike = alike or draws.chance(4)  # nothing but padding
    most = numel if alike else _most(wish, order, numel)
    if most * rows < numel and most:
        rows, numel = _fitting(wish, most, rows, numel)
    padding = {"none": None, "first": 0, "last": rows - 1, "middle": max(1, rows // 2)}[place]
    copies = _copies(numel) if strides == "expanded" and rank > 1 else 1
    padded = _padded(wish, place, alike, most or numel)
    if most % copies or (padded > 0 and padded % copies):
        most, padded = -(-most // copies) * copies, -1
    counts = Counts(most // copies, padded // copies if padded > 0 else padded, order, *_marks(wish), copies)
    seed = draws.between(0, 1 << 20)
    found = counts.tokens(numel, rows, padding, seed)
    facts = told(found, rows, padding)
    if not wish.met(facts) or (strides == "expanded" and copies == 1 and facts["max_count"] < numel):
        raise Unmet("tokens")
    dtype = wish.choice("index_dtype", ("int64", "int32"))
    if padding is not None and draws.chance(3):
        padding -= rows  # counted from the end
    layouts = {"rows_strided": ("column_slice",), "strided": ("strided", "row_strided") if rank == 1 else ("strided",)}
    layout = draws.choice(layouts.get(strides, (strides,)))
    shape = _shape(wish, numel, rank, strides)
    if copies > 1:
        # The same tokens for each of a batch, as positions that are expanded.
        layout, shape = "equal_rows", (*(1,) * (rank - 2), copies, numel // copies)
    return Tokens(rows, shape, counts.name, padding, dtype, layout, seed)


def _copies(numel: int) -> int:
    """Of how many copies so many tokens may be; one where they can't be several."""
    return next((k for k in (2, 3, 4, 5, 7, 11, 13) if numel % k == 0 and numel > k), 1)


def _strides(rank: int) -> tuple[str, ...]:
    usual = ("contiguous",) * 4
    return usual if rank == 0 else (*usual, "strided", "expanded") if rank == 1 else (
        *usual, "strided", "expanded", "rows_strided", "transposed")  # fmt: skip


def _orders(wish: Wish) -> list[str]:
    kept = [
        order
        for order, interleaved, descending in (
            ("mixed", True, False), ("mixed", True, False), ("mixed", False, False), ("runs", False, False),
            ("descending", False, True),
        )
        if wish.meets("interleaved", interleaved) and wish.meets("descending", descending)
    ]  # fmt: skip
    if not kept:
        raise Unmet("order")
    return kept


def _places(rows: int) -> tuple[str, ...]:
    places = ("none", "none", "none", "first")
    return places + (("last",) if rows > 1 else ()) + (("middle",) if rows > 2 else ())


def _most(wish: Wish, order: str, numel: int) -> int:
    """How often the most frequent row is to occur; 0 leaves it open."""
    if order == "descending":
        return 1
    if not wish.asks("max_count") and numel > COUNTS[-1]:
        return wish.draws.choice((0, 21, *(count for count in COUNTS[-2:] if count <= numel)))
    if wish.asks("max_count") or wish.draws.chance(2):
        return wish.number("max_count", COUNTS, 1, numel)
    return 0


def _fitting(wish: Wish, most: int, rows: int, numel: int) -> tuple[int, int]:
    """Sizes, at thresholds where they can be, with which no row comes more often."""
    needed, held = -(-numel // most), most * rows
    more = [n for n in (*ROWS, needed, needed + 1) if n >= needed and wish.meets("num_embeddings", n)]
    fewer = [n for n in (*NUMELS, held - 1, held) if 0 < n <= held and n >= most and wish.meets("numel", n)]
    if more and not (fewer and wish.draws.chance(2)):
        return wish.draws.choice(more[:4]), numel
    if not fewer:
        raise Unmet("max_count")
    return rows, wish.draws.choice(fewer[-4:])


def _padded(wish: Wish, place: str, alike: bool, most: int) -> int:
    if place == "none":
        return -1
    if alike and (not wish.meets("padding_hit", False) or not wish.asks("padding_hit")):
        return most
    if wish.asks_any("padding_count", "padding_hit"):
        least = 0 if wish.meets("padding_hit", False) else 1
        return wish.number("padding_count", PADDED, least, 0 if not wish.meets("padding_hit", True) else most)
    return wish.draws.choice((-1, *(count for count in PADDED if count <= most)))


def _marks(wish: Wish) -> tuple[int, int, int]:
    """Whether counts are to be equal, and the first and the last row to occur."""
    return tuple(
        -1 if not wish.asks(fact) else int(wish.meets(fact, value))
        for fact, value in (("unequal_counts", False), ("first_row", True), ("last_row", True))
    )  # type: ignore[return-value]


def _shape(wish: Wish, numel: int, rank: int, strides: str) -> tuple[int, ...]:
    if rank == 0:
        return ()
    factor = next((k for k in (2, 3, 5, 7, 11, 13) if numel % k == 0 and numel > k), 1)
    several = [(factor, numel // factor), (numel // factor, factor)]
    if strides == "transposed" and rank > 1 and factor == 1:
        raise Unmet("index_layout")  # of one row or one column the transpose is contiguous
    if strides not in ("transposed", "expanded"):
        several += [(1, numel)] * 2 if strides != "rows_strided" else []
        several += [(numel, 1)]
    pair = wish.draws.choice(several)
    return (numel,) if rank == 1 else (*(1,) * (rank - 2), *pair)


# -- lookups ------------------------------------------------------------------------------------------------------------


def width_of(wish: Wish, rows: int, sizes: tuple[int, int] = LARGEST) -> int:
    """The width of a table of so many rows."""
    if wish.asks("elements") and not wish.asks("embedding_dim"):
        return -(-wish.number("elements", (), 1) // rows)
    if wish.asks("embedding_dim"):
        return wish.number("embedding_dim", WIDTHS, 1)
    largest = sizes[wish.draws.chance(4)]
    return wish.draws.choice([width for width in WIDTHS if width * rows <= largest] or [1])


def lookup_case(
    wish: Wish, *, backward: bool | None = None, sparse: bool | None = None, ranks: tuple[int, ...] = (1, 1, 2, 3, 0)
) -> Case:
    """A lookup whose table, or with ``backward`` whose upstream gradient, is as wished; without ``backward`` both are drawn.

    Raises:
        Unmet: if this draw comes to none.
    """
    draws = wish.draws
    none = Wish(draws)
    given = tokens(wish, ranks)
    rows, numel = given.num_embeddings, given.numel
    width = width_of(wish, max(rows, numel))
    if not wish.met({"elements": rows * width}):
        raise Unmet("elements")
    dtype = wish.choice("dtype", tuple(FORMATS))
    of_table, of_upstream = (none, wish) if backward else (wish, none)
    layout = layout_of(of_table, "layout")
    upstream_layout = layout_of(of_upstream, "layout")
    shape = given.shape
    if upstream_layout == "transposed" and len(shape) > 1:
        if of_upstream.asks("layout") and given.index_layout in ("transposed", "rows_strided"):
            raise Unmet("layout")
        shape = (1,) * (len(shape) - 1) + (numel,)
    scale = wish.choice("scale_grad_by_freq", (False, False, True) if not sparse else (False, True))
    thin = wish.choice("sparse", (False, False, True)) if sparse is None else sparse
    if scale and thin and not (wish.asks("sparse") and wish.asks("scale_grad_by_freq")):
        scale, thin = (scale, False) if wish.asks("scale_grad_by_freq") or sparse is False else (False, thin)
    case = Case(
        rows, width, given.indices, shape, given.padding_idx, scale, thin, dtype=dtype, index_dtype=given.index_dtype,
        layout=layout, index_layout=given.index_layout, upstream_layout=upstream_layout,
        values="special" if _unusual(of_table) else draws.choice(("real", "real", "fingerprint")),
        upstream="special" if _unusual(of_upstream) else draws.choice(("code",) * 5 + ("real",)),  # what is exact tells more
        entry=draws.choice(("functional", "functional", "torch_embedding", "module")),
        route=draws.choice(("backward_call", "backward_call", "autograd_grad")),
        history=draws.choice(EARLIER[wish.number("earlier", (0, 0, 1, 2, 3), 0, 3)]),
        threads=wish.number("threads", (1, 1, 1, 2), 1, 2), seed=given.seed,
    )  # fmt: skip
    if _fits(wish, case, case.upstream_values if backward else case.weight_values):
        return case
    raise Unmet("values")


def _unusual(wish: Wish) -> bool:
    """Whether values are to be NaN or infinite: one draw in sixteen, and where it is wished."""
    return not (wish.meets("nan", False) and wish.meets("infinite", False)) or (
        not wish.asks_any("nan", "infinite") and wish.draws.chance(16)
    )


def _fits(wish: Wish, case: Case, values: Any) -> bool:
    if not wish.asks_any("nan", "infinite"):
        return True
    return wish.met({"nan": bool(np.isnan(values).any()), "infinite": bool(np.isinf(values).any())})


def product_case(wish: Wish) -> Case:
    """A lookup as a product with one_hot, rows × inner and inner × columns; its derivative is a product of the transpose.

    Raises:
        Unmet: if this draw comes to none.
    """
    draws = wish.draws
    # The first product is one_hot @ W, the second, which the derivative takes, its transpose with the upstream gradient.
    second = wish.choice("left_layout", ("contiguous", "contiguous", "transposed")) == "transposed"
    rows = wish.number("rows", (1, 2, 3, 17, 33, 65, 129, 769), 1)
    inner = wish.number("inner", (1, 2, 7, 8, 17, 32, 33, 65, 129, 257), 1)
    columns = wish.number("columns", (1, 2, 3, 7, 8, 17, 33, 65, 129, 257), 1)
    numel, table = (inner, rows) if second else (rows, inner)
    if not wish.met({"square": rows == inner == columns}):
        raise Unmet("square")
    if numel * table > 1 << 16 or max(numel, table) * columns > 1 << 19:
        raise Unmet("rows")
    strides = layout_of(wish, "right_layout")
    return Case(
        table, columns, draws.choice(("uniform", "unequal", "permutation", "ends")), (numel,),
        dtype=wish.choice("dtype", tuple(FORMATS)), layout="contiguous" if second else strides,
        upstream_layout=strides if second else "contiguous",
        entry=draws.choice(("one_hot_product", "linear")),
        history=draws.choice(EARLIER[wish.number("earlier", (0, 0, 1, 2, 3), 0, 3)]),
        threads=wish.number("threads", (1, 1, 1, 2), 1, 2), seed=draws.between(0, 1 << 20),
    )  # fmt: skip


def aimed_gradient(wish: Wish) -> Case | None:
    """A lookup whose gradient is dense or, one in three, sparse."""
    sparse = wish.draws.chance(3)
    found: Case | None = attempts(wish, lambda wish: lookup_case(wish, backward=None, sparse=sparse))
    return found


def aimed_product(wish: Wish) -> Case | None:
    """A product with one_hot; its derivative is not taken."""
    found: Case | None = attempts(wish, product_case)
    return found
