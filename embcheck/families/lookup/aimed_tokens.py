"""Tokens that are aimed: exact counts of rows and of padding, sizes, orders and strides, from thresholds or as is wished."""

from collections.abc import Callable
from typing import TypeVar

from embcheck.core.case import LookupCase
from embcheck.core.counts import Counts, told
from embcheck.core.targets import Unmet, Wish

T = TypeVar("T")

#: Sizes on both sides of thresholds that kernels have had (ATen's sources and the bugs of the past); small ones more often.
NUMELS = (1, 2, 3, 9, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 512, 513, 768, 769, 1000, 1001, 3073)
ROWS = (1, 2, 3, 9, 16, 17, 64, 65, 256, 257, 999, 1000, 1001, 2001)
COUNTS = (1, 2, 2, 3, 3, 10, 11, 20, 21, 65, 257, 2049)
PADDED = (0, 1, 2, 3, 17, 257)
#: Facts that say, or exclude, that all tokens are padding.
ALL_PADDING = ("all_padding", "padding_hit", "unequal_counts", "last_row", "first_row")
#: How often a wish is drawn anew before it is given up.
TRIES = 80


def attempts(wish: Wish, build: Callable[[Wish], T]) -> T | None:
    """What ``build`` makes of a wish, drawn anew until it is met; None if it never is."""
    for _ in range(TRIES):
        try:
            return build(wish)
        except Unmet:
            continue
    return None


def tokens(
    wish: Wish, ranks: tuple[int, ...] = (1, 1, 2, 3, 0), numels: tuple[int, ...] = NUMELS, paddings: bool = True
) -> LookupCase:
    """Tokens as wished, as a lookup in a table that has no columns yet.  Raises Unmet if this draw comes to none."""
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
    in_turn = copies > 1 and draws.chance(2)
    times = (1, copies) if in_turn else (copies, 1)
    counts = Counts(most // copies, padded // copies if padded > 0 else padded, order, *_marks(wish), *times)
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
        # The same tokens for each of a batch, as positions that are expanded, or in each row one token.
        pair = (copies, numel // copies)
        layout, pair = ("equal_columns", pair[::-1]) if in_turn else ("equal_rows", pair)
        shape = (*(1,) * (rank - 2), *pair)
    return LookupCase(rows, 0, counts.name, shape, padding, index_dtype=dtype, index_layout=layout, seed=seed)


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
