"""Cases of lookups that are aimed: each fact that a kernel's path may hang on is drawn from its thresholds, or as is wished.

Where `embcheck.families.lookup.cases` draws axes, this draws what follows from them: exact counts of tokens and of padding, sizes,
strides and earlier calls, all at once, so that each case crosses many thresholds together.
"""

from collections.abc import Callable

import numpy as np

from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS, Floats
from embcheck.core.targets import Unmet, Wish
from embcheck.families.lookup.aimed_tokens import attempts, tokens

WIDTHS = (1, 2, 3, 7, 8, 16, 17, 31, 32, 33, 64, 65, 128, 129, 512, 513)
#: A case has at most so many elements of table or output, where nothing larger is wished; the second one in four times, the
#: third one in 24.
LARGEST = (1 << 14, 1 << 17, 1 << 20)

#: Up to so many elements of table or output a case has several calls.
SEVERAL = 1 << 13

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


def layout_of(wish: Wish, fact: str) -> str:
    """A layout with strides that are wished."""
    return wish.draws.choice(_OF_TABLES[wish.choice(fact, STRIDES)])


def width_of(wish: Wish, rows: int, numel: int, sizes: tuple[int, int, int] = LARGEST) -> int:
    """The width of a table of so many rows, in which so many tokens are looked up."""
    if wish.asks("elements") and not wish.asks("embedding_dim"):
        return -(-wish.number("elements", (), 1) // rows)
    if wish.asks("embedding_dim"):
        return wish.number("embedding_dim", WIDTHS, 1)
    largest = sizes[2 if wish.draws.chance(24) else wish.draws.chance(4)]
    return wish.draws.choice([width for width in WIDTHS if width * max(rows, numel) <= largest] or [1])


def lookup_case(
    wish: Wish, *, backward: bool = False, sparse: bool | None = None, ranks: tuple[int, ...] = (1, 1, 2, 3, 0)
) -> LookupCase:
    """A lookup whose table, or with ``backward`` whose upstream gradient, is as wished; the other one is drawn.
    Raises Unmet if this draw comes to none."""
    draws = wish.draws
    none = Wish(draws)
    given = tokens(wish, ranks)
    rows, numel = given.num_embeddings, given.numel
    width = width_of(wish, rows, numel)
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
    case = given.but(
        embedding_dim=width, shape=shape, scale_grad_by_freq=scale, sparse=thin, dtype=dtype,
        layout=layout, upstream_layout=upstream_layout,
        values="special" if unusual(of_table, 16, "nan", "infinite") else draws.choice(("real", "real", "fingerprint")),
        # What is exact tells more.
        upstream="special" if unusual(of_upstream, 16, "nan", "infinite") else draws.choice(("code",) * 5 + ("real",)),
        entry=draws.choice(("functional", "functional", "torch_embedding", "module")),
        route=draws.choice(("backward_call", "backward_call", "autograd_grad")),
        threads=wish.number("threads", (*(1,) * 7, 2), 1, 2),
    )  # fmt: skip
    earlier = wish.number("earlier", (0, 0, 1, 2, 3), 0, 3)
    ordinary = case.values != "special" and max(rows, numel) * width <= SEVERAL
    several = ordinary and may_be_several(wish, earlier) and draws.chance(4)
    case = case.but(route="several") if several else case.but(history=draws.choice(EARLIER[earlier]))
    if special_as_wished(wish, lambda: case.upstream_values if backward else case.weight_values):
        return case
    raise Unmet("values")


def may_be_several(wish: Wish, earlier: int) -> bool:
    """Whether the first or the last of several calls, which alone have the sizes that are wished, has so many before it."""
    return not earlier or not wish.asks("earlier") or wish.meets("earlier", 1 << 20)


def unusual(wish: Wish, one_in: int, *facts: str) -> bool:
    """Whether something is to be that is seldom: where one of its facts is wished, and else for one draw in so many."""
    wished = not all(wish.meets(fact, False) for fact in facts)
    return wished or (not wish.asks_any(*facts) and wish.draws.chance(one_in))


def special_as_wished(wish: Wish, make: Callable[[], Floats]) -> bool:
    """Whether values are NaN or infinite as is wished; they are made only where that is asked."""
    if not wish.asks_any("nan", "infinite"):
        return True
    values = make()
    return wish.met({"nan": bool(np.isnan(values).any()), "infinite": bool(np.isinf(values).any())})


def product_case(wish: Wish) -> LookupCase:
    """A lookup as a product with one_hot, rows × inner and inner × columns; its derivative is a product of the transpose.
    Raises Unmet if this draw comes to none."""
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
    return LookupCase(
        table, columns, draws.choice(("uniform", "unequal", "permutation", "ends")), (numel,),
        dtype=wish.choice("dtype", tuple(FORMATS)), layout="contiguous" if second else strides,
        upstream_layout=strides if second else "contiguous",
        entry=draws.choice(("one_hot_product", "linear")),
        history=draws.choice(EARLIER[wish.number("earlier", (0, 0, 1, 2, 3), 0, 3)]),
        threads=wish.number("threads", (1, 1, 1, 2), 1, 2), seed=draws.between(0, 1 << 20),
    )  # fmt: skip


def aimed_gradient(wish: Wish) -> LookupCase | None:
    """A lookup whose gradient is dense or, one in three, sparse."""
    sparse = wish.draws.chance(3)
    return attempts(wish, lambda wish: lookup_case(wish, sparse=sparse))
