"""Cases of one_hot that are aimed: tokens as in `embcheck.families.lookup.aimed_tokens`."""

from __future__ import annotations

from embcheck.core.targets import Unmet, Wish
from embcheck.families.lookup.aimed_tokens import tokens
from embcheck.families.one_hot.programs import OneHotCase

#: So many elements a result may have, and where nothing is wished of its size.
LARGEST, USUAL = 1 << 20, 1 << 16
CLASSES = (1, 2, 3, 8, 17, 65, 257)
_EARLIER = ("fresh", "once_alike", "third_alike", "thrice_alike")


def one_hot_case(wish: Wish) -> OneHotCase:
    """A one_hot as wished.

    Raises:
        Unmet: if this draw comes to none.
    """
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
