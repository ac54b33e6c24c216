"""The space of bags: its axes, what is executed for a case, and how one is drawn or aimed, on both sides of the thresholds."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import values_of
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.core.targets import Unmet, Wish
from embcheck.families.embedding_bag.cases import MODES, BagCase
from embcheck.families.embedding_bag.enumerated_cases import MISTAKES, fixed_cases, scope
from embcheck.families.embedding_bag.invalid_calls import BAG_MISTAKES, mistaken, mistaken_on_meta
from embcheck.families.embedding_bag.programs import BAG_ENTRIES, BAG_PASTS, bag, nested
from embcheck.families.embedding_bag.repair import repair
from embcheck.families.embedding_bag.routes import BAG_ROUTES
from embcheck.families.embedding_bag.several import several, several_counted
from embcheck.families.lookup import cases
from embcheck.families.lookup.aimed import SEVERAL, layout_of, may_be_several, unusual, width_of
from embcheck.families.lookup.aimed_tokens import attempts, tokens

#: Where the kernels change their path: generated code by width, grain sizes of samples and tokens (EmbeddingBag.cpp).
WIDTHS = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 129, 256, 257)
TOKENS = (0, 1, 2, 3, 5, 8, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 257, 512, 999, 1000, 1001, 1025, 2049, 3072,
          3073)  # fmt: skip
ROWS = (1, 2, 3, 5, 8, 16, 17, 33, 64, 65, 129, 257, 1000, 1001, 2000, 2001, 4097)
_LARGEST = 1 << 16

AXES = values_of(BagCase)


def plan(case: BagCase) -> Plan:
    fed = case.inputs()
    if case.mistake in BAG_MISTAKES:
        program = mistaken_on_meta if case.on_meta else mistaken
        return Plan(program, {"weight": fed["weight"]}, {"call": BAG_MISTAKES[case.mistake]}, case.threads)
    # The default mode is mean: half of the cases leave it to be that.
    flags: dict[str, Any] = {} if case.mode == "mean" and case.seed % 2 else {"mode": case.mode}
    flags |= case.keywords("padding_idx", "scale_grad_by_freq", "sparse", "include_last_offset")
    routes = {**BAG_ROUTES, "several": several_counted if case.scale_grad_by_freq else several}
    options = {
        "build": {**BAG_ENTRIES, "nested": nested}[case.entry],
        "history": BAG_PASTS[case.history],
        "route": routes[case.route],
        "flags": flags,
        "learns": case.learns,
    }
    return Plan(bag, fed, options, case.threads)


def draw(draws: stream.Stream) -> BagCase | None:
    """A random case: sizes from both sides of the thresholds, most other axes simple."""
    rows, width, numel = draws.choice(ROWS), draws.choice(WIDTHS), draws.choice(TOKENS)
    if not draws.chance(3):
        rows, width, numel = rows % 12 + 1, width % 20 + 1, numel % 40
    while max(rows, numel) * width > _LARGEST:
        width = draws.choice(WIDTHS[:12])
        numel, rows = min(numel, 1025), min(rows, 2001)
    chosen: dict[str, Any] = {}
    for name, values in AXES.items():
        if name not in ("num_embeddings", "embedding_dim", "numel"):
            chosen[name] = draws.choice(values) if draws.chance(2) or name in ("mode", "bags", "indices") else values[0]
    if draws.chance(24):
        chosen["mistake"] = draws.choice(MISTAKES)
    return repair(BagCase(rows, width, numel=numel, seed=draws.between(0, 1 << 20), **chosen))


# -- aimed cases: tokens as for lookups, cut into bags whose numbers and lengths come from the kernels' thresholds ------


BAGS = (1, 1, 2, 2, 3, 4, 8, 9, 64, 65)
LARGEST_BAGS = (1, 2, 2, 3, 17, 65, 257)
_NUMELS = (1, 2, 3, 5, 9, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 513, 768, 769, 1000, 1001, 3073)
#: Histories of so many earlier calls.
_EARLIER = ("fresh", "once_alike", "twice_alike", "thrice_alike")
#: What learns and along which route each kernel is reached.
KERNELS = ("_embedding_bag", "_embedding_bag_forward_only", "_embedding_bag_dense_backward",
           "_embedding_bag_per_sample_weights_backward")  # fmt: skip
#: A batch of bags has at most so many where it is written out.
_WRITTEN = 300
#: Where it is wished, so many.
_MOST = 2100


def lengths(wish: Wish, numel: int) -> tuple[int, ...]:
    """How many tokens each bag has.  Raises Unmet if this draw comes to none."""
    draws = wish.draws
    first = wish.choice("empty_first", (False, False, False, True))
    last = wish.choice("empty_last", (False, False, False, True))
    least = max(int(first), int(last))
    asked = wish.asks_any("empty_bags", "empty_first", "empty_last")
    empty = wish.number("empty_bags", (least, least, 1, 2), least) if asked else least + draws.choice((0, 0, 0, 1, 2))
    longest = wish.number("largest_bag", LARGEST_BAGS, 1, numel) if numel else 0
    cut = wish.asks("largest_bag") or (numel > 0 and not wish.asks("bags") and draws.chance(4))
    if wish.asks("bags") and not (cut and draws.chance(2)):
        count = wish.number("bags", BAGS, empty + (1 if numel else 0))
    elif cut:
        count = empty + -(-numel // longest) + draws.choice((0, 0, 1, 5))
    else:
        count = empty + min(draws.choice(BAGS), max(numel, 1))
    if count - empty > numel and wish.asks("bags") and not asked:
        empty = count - draws.choice((numel, max(1, numel // 2)))
    full = count - empty
    if numel and not wish.asks("largest_bag"):
        longest = max(longest, -(-numel // max(full, 1)))
    most = _MOST if wish.asks_any("bags", "largest_bag") else _WRITTEN
    if count > most or (full == 0) != (numel == 0) or not full <= numel <= full * longest:
        raise Unmet("bags")
    sizes = np.ones(full, np.int64)
    left = numel - full
    if full:
        grown = min(longest - 1, left)
        sizes[draws.between(0, full - 1)] += grown
        left -= grown
    for place in range(full):
        grown = min(longest - int(sizes[place]), left)
        sizes[place] += grown
        left -= grown
    found = sizes.tolist()
    for turn in range(empty):
        if turn == 0 and first:
            found.insert(0, 0)
        elif last and turn == int(first and empty > 1):
            found.append(0)
        else:
            # In the middle, where there is one; elsewhere what is wished decides.
            found.insert(draws.between(1, len(found) - 1) if len(found) > 1 else len(found), 0)
    if not wish.met(_told(found)):
        raise Unmet("bags")
    return tuple(found)


def _told(sizes: list[int]) -> dict[str, Any]:
    return {
        "bags": len(sizes),
        "empty_bags": sizes.count(0),
        "empty_first": bool(sizes) and not sizes[0],
        "empty_last": bool(sizes) and not sizes[-1],
        "largest_bag": max(sizes, default=0),
    }


def bag_case(wish: Wish, kernel: str) -> BagCase:
    """A bag whose call of a kernel is as wished.  Raises Unmet if this draw comes to none."""
    draws, none = wish.draws, Wish(wish.draws)
    backward, forward_only = kernel == "_embedding_bag_dense_backward", kernel == "_embedding_bag_forward_only"
    samples_learn = kernel == "_embedding_bag_per_sample_weights_backward"
    mode = "sum" if samples_learn else wish.choice("mode", MODES)
    given = tokens(wish, (1,), _NUMELS)
    trailing = 0
    last_offset = False if backward else wish.choice("include_last_offset", (False, True))
    if last_offset and given.numel > 1 and unusual(wish, 3, "trailing"):
        trailing = draws.between(1, min(3, given.numel - 1))
    cut = lengths(wish, given.numel - trailing)
    weighted = mode == "sum" and (samples_learn or wish.choice("per_sample_weights", (False, True)))
    weights_strides = "contiguous"
    if weighted and not samples_learn:
        weights_strides = wish.choice("samples_layout", ("contiguous", "contiguous", "contiguous", "strided"))
    width = width_of(wish, given.num_embeddings, given.numel, (1 << 13, 1 << 15, 1 << 17))
    if not wish.met({"elements": given.num_embeddings * width}):
        raise Unmet("elements")
    scale = wish.choice("scale_grad_by_freq", (False, False, False, True)) and (
        mode != "max" or wish.asks("scale_grad_by_freq")
    )
    of_table, of_upstream = (none, wish) if backward else (wish, none)
    learns = "none" if forward_only else "both" if weighted and (samples_learn or draws.chance(2)) else "table"
    special = unusual(wish, 6, "nan", "infinite")
    case = BagCase(
        given.num_embeddings, width, mode, given.numel - trailing, cut, False, last_offset, trailing, given.indices,
        given.padding_idx, scale, wish.choice("sparse", (False, False, False, True)) if not backward else False,
        draws.choice(("small", "real")) if weighted else None, learns, wish.choice("dtype", tuple(FORMATS)), given.index_dtype,
        wish.choice("offsets_dtype", ("int64", "int64", "int32")), layout_of(of_table, "layout"), given.index_layout,
        "strided" if wish.choice("offsets_layout", ("contiguous",) * 3 + ("strided",)) == "strided" else "contiguous",
        weights_strides, layout_of(of_upstream, "layout"),
        "special" if special and not backward else draws.choice(("wide", "wide", "wide", "fingerprint", "real")),
        "special" if special and backward else draws.choice(("code",) * 5 + ("real",)),
        draws.choice(("functional", "functional", "module", "torch_bag")) if not forward_only else "functional",
        "value" if forward_only else draws.choice(("backward_call", "backward_call", "autograd_grad")),
        threads=wish.number("threads", (*(1,) * 7, 2), 1, 2), seed=given.seed,
    )  # fmt: skip
    earlier = wish.number("earlier", (0, 0, 1, 2, 3), 0, 3)
    ordinary = case.values != "special" and not trailing and max(case.num_embeddings, given.numel) * width <= SEVERAL
    several = ordinary and may_be_several(wish, earlier) and draws.chance(4)
    case = case.but(route="several") if several else case.but(history=_EARLIER[earlier])
    fitted = repair(case)
    if fitted is None or fitted.indices != case.indices or fitted.history != case.history:
        raise Unmet("bag")
    return fitted


def aimed_bag(wish: Wish) -> BagCase | None:
    """A bag of which one kernel after the other is what matters."""
    kernel = wish.draws.choice((KERNELS[0], KERNELS[1], KERNELS[2], KERNELS[3], KERNELS[2]))
    return attempts(wish, lambda wish: bag_case(wish, kernel))


def smaller(case: BagCase) -> Iterator[BagCase]:
    for axis, floor in (("num_embeddings", 1), ("embedding_dim", 1), ("numel", 0), ("trailing", 0)):
        written_out = isinstance(case.indices, tuple) or (axis == "numel" and isinstance(case.bags, tuple))
        if written_out and axis in ("numel", "trailing"):
            continue
        for size in cases.towards(getattr(case, axis), floor):
            fewer: dict[str, Any] = {axis: size}
            if axis == "num_embeddings" and isinstance(case.indices, tuple):
                fewer["indices"] = tuple(min(token, size - 1) for token in case.indices)
            yield case.but(**fewer)
    if case.mistake is None and case.numel + case.trailing <= 8:
        written = {"indices": tuple(case.tokens.tolist()), "bags": tuple(case.lengths.tolist())}
        if isinstance(case.indices, str) or isinstance(case.bags, str):
            yield case.but(**written)
        elif not case.batch:
            starts = np.r_[0, np.cumsum(case.lengths)].tolist()
            for k, length in enumerate(case.bags):
                rest = (*case.bags[:k], *case.bags[k + 1 :])
                yield case.but(bags=rest, indices=(*case.indices[: starts[k]], *case.indices[starts[k + 1] :]))
                if length:
                    less = (*case.bags[:k], length - 1, *case.bags[k + 1 :])
                    yield case.but(bags=less, indices=(*case.indices[: starts[k]], *case.indices[starts[k] + 1 :]))
            for k, token in enumerate(case.indices):
                if token:
                    yield case.but(indices=(*case.indices[:k], 0, *case.indices[k + 1 :]))


SPACE = Space(
    BagCase,
    AXES,
    repair,
    scope,
    fixed_cases,
    flags=("mode", "bags", "padding_idx", "scale_grad_by_freq", "sparse", "dtype", "include_last_offset"),
    base={"numel": 6, "indices": "unequal"},
    draw=draw,
    smaller=smaller,
    aim=aimed_bag,
    aims=4.5,
    strength=2,
)
