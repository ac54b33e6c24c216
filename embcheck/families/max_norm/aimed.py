"""Cases of max_norm that are aimed: tokens as in `embcheck.families.lookup.aimed_tokens`, limits and norms of every kind."""

from __future__ import annotations

import numpy as np

from embcheck.core.format import FORMATS
from embcheck.core.targets import Unmet, Wish
from embcheck.families.lookup.aimed import EARLIER, SEVERAL, layout_of, width_of
from embcheck.families.lookup.aimed_tokens import tokens
from embcheck.families.max_norm.cases import MaxNormCase

NORM_TYPES = (2.0, 2.0, 1.0, 3.0, float("inf"), 0.5, 0.0)
MAX_NORMS = (1.0, 1.0, 0.5, 0.0005, 0.0005, 2.5, 5.0, 0.0)
#: A shape's tokens, most of them different rows: what matters is how many of them are over the limit.
_NUMELS = (1, 2, 3, 9, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 768, 769, 1000, 1001, 3073)


def renorm_case(wish: Wish) -> MaxNormCase:
    """A lookup whose renorm is as wished.

    Raises:
        Unmet: if this draw comes to none.
    """
    draws = wish.draws
    given = tokens(wish, (1, 1, 2, 3, 0), _NUMELS, paddings=False)
    width = width_of(wish, given.num_embeddings, given.numel, (1 << 13, 1 << 15, 1 << 17))
    earlier = wish.number("earlier", (*(0,) * 6, 1, 2, 3), 0, 3)
    case = MaxNormCase(
        given.num_embeddings, width, given.indices, given.shape,
        max_norm=wish.choice("max_norm", MAX_NORMS), norm_type=wish.choice("norm_type", NORM_TYPES),
        dtype=wish.choice("dtype", tuple(FORMATS)), index_dtype=given.index_dtype, layout=layout_of(wish, "layout"),
        index_layout=given.index_layout, values="mixed",
        entry=draws.choice(("functional", "functional", "module", "renorm_")), route="plain",
        history=EARLIER[earlier][0], threads=wish.number("threads", (1, 1, 1, 2), 1, 2),
        seed=given.seed,
    )  # fmt: skip
    if wish.asks("rescaled") and not wish.asks("max_norm") and draws.chance(2):
        case = _limited(wish, case.but(values="real"))
    several = case.history == "fresh" and max(case.num_embeddings, given.numel) * width <= SEVERAL
    if several and not draws.chance(4):
        case = case.but(route="several")
    if wish.asks_any("nan", "infinite", "elements", "rescaled", "kept"):
        fate = case.fate
        over = int((fate.scaled & case.looked_up).sum())
        if not wish.met({
            "rescaled": over, "kept": int(case.looked_up.sum()) - over, "elements": case.num_embeddings * case.embedding_dim,
            "nan": bool(np.isnan(case.weight_values).any()), "infinite": bool(np.isinf(case.weight_values).any()),
        }):  # fmt: skip
            raise Unmet("rows")
    return case


def _limited(wish: Wish, case: MaxNormCase) -> MaxNormCase:
    """The case with a limit that as many rows exceed, of those that are looked up, as is wished."""
    norms = np.sort(case.fate.norm[case.looked_up])
    over = wish.number("rescaled", (1, 2, 3, 9), 1, len(norms))
    below = norms[-over - 1] if over < len(norms) else 0.0
    return case.but(max_norm=float(below + norms[-over]) / 2)
