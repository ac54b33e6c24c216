"""The cases of modes that compile: signatures that cover the axes pairwise, and many cases for each.

A *signature* is what makes another graph: entry, flags, dtypes, rank, layouts.  A compiled graph then serves all cases
of its signature, which differ in sizes, tokens and values.
"""

from collections.abc import Callable, Iterator
from typing import Any

from embcheck.core import deck, stream
from embcheck.core.item import Item, Profile
from embcheck.core.law import Family
from embcheck.core.pattern import STRAYS
from embcheck.core.space import covering
from embcheck.families.lookup.prior_calls import LATER
from embcheck.modes.layer import TRANSFORMING

#: Axes whose values give no other graph, or are chosen for each case of a signature.
FREE = frozenset((
    "num_embeddings", "embedding_dim", "indices", "shape", "values", "upstream", "seed", "out_of_range", "history", "threads",
))  # fmt: skip
#: Histories that change no shape and no mode, so that they ask for no further graph.
CALM = (
    *("fresh", "fresh", "repeated", "weight_changed", "indices_changed"),
    *("other_table", "output_overwritten", "output_held", "gradient_held", "indices_refilled"),
)

#: What the first signatures have, so that few of them meet every flag.
_ANCHORS: tuple[dict[str, Any], ...] = (
    {"entry": "functional", "padding_idx": 1, "sparse": False, "scale_grad_by_freq": False, "max_norm": 1.0,
     "route": "backward_call", "sizes": "many", "requires_grad": True, "rank": 1, "norm_type": 2.0},
    {"entry": "module", "padding_idx": 0, "sparse": False, "scale_grad_by_freq": True, "max_norm": 0.5,
     "route": "autograd_grad", "sizes": "many", "requires_grad": True, "rank": 2, "norm_type": 2.0},
)  # fmt: skip
#: The same for bags: flags of which each alone takes another path through the kernels of forward and backward.
_BAG_ANCHORS: tuple[dict[str, Any], ...] = (
    {"entry": "functional", "mode": "sum", "sparse": True, "scale_grad_by_freq": False, "weights": "small",
     "learns": "both", "padding_idx": None, "dtype": "float32", "layout": "contiguous", "sizes": "many",
     "weights_layout": "contiguous", "index_layout": "contiguous"},
    {"entry": "module", "mode": "mean", "sparse": False, "weights": None, "padding_idx": 1, "sizes": "many"},
)  # fmt: skip
_TOKENS = (2, 3, 4, 5, 8, 9, 16, 17, 31, 33, 64, 65, 129, 257, 300, 513, 769, 1001, 1025)
_TABLES = ((5, 3), (3, 2), (9, 8), (8, 17), (17, 5), (33, 16), (65, 33), (257, 4), (1001, 3), (2049, 2))
#: Tables whose rows might be taken for their columns.
_SQUARES = ((3, 3), (2, 2), (5, 5), (16, 16))
#: A size of one is a constant of a graph even where sizes are dynamic, and is broadcast where it is not looked at.
_ROW = (1, 3)

#: Entries whose table has any size in one graph.
_FREE_TABLES = ("functional", "torch_embedding", "torch_bag", "aten", "one_hot_product", "linear")

Cases = Callable[[Family, Item, Profile, int], Iterator[Any]]


def lattice(quick: int, gate: int, each: int, **fixed: tuple[Any, ...]) -> Cases:
    """``quick`` or ``gate`` signatures (four times as many in *deep*) with ``each`` cases, half of that in quick; a
    run longer than *gate* has besides what is aimed at conditions that these don't meet."""

    def cases(family: Family, item: Item, profile: Profile, seed: int) -> Iterator[Any]:
        count = {"quick": quick, "gate": gate, "full": gate}.get(profile.name, 4 * gate)
        most = max(2, each // 2) if profile.name == "quick" else each
        for position, signature in enumerate(signatures(family, count, stream.derive(seed, item.label), fixed)):
            yield from _cases_of(family, signature, position, most)
        if not profile.deck:
            yield from deck.aimed_cases(family, item.mode)

    return cases


def signatures(family: Family, count: int, seed: int, fixed: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """So many signatures of a family, the first ones covering pairs of values as well as so few can."""
    axes = {name: values for name, values in family.space.axes.items() if name not in FREE}
    if "route" in axes:
        axes["route"] = tuple(route for route in axes["route"] if route not in TRANSFORMING)
    # A row without flags, of which most is seen, should not be one in many.
    for name, simplest in (("padding_idx", None), ("sparse", False), ("scale_grad_by_freq", False)):
        if simplest in axes.get(name, ()):
            axes[name] = (simplest,) * (len(axes[name]) // 2) + axes[name]
    axes["rank"] = (1, 2, 0, 3)
    axes["sizes"] = ("many", "many", "many", "one", "none", "narrow")
    for name, values in fixed.items():
        if name in axes:
            # A subject's entry is none of torch's: whether the mode takes it is seen by trying.
            axes[name] = tuple(value for value in axes[name] if value in values) or axes[name]
    found: list[dict[str, Any]] = []
    turn = 0
    while len(found) < count:
        rows = list(covering(axes, 2, stream.derive(seed, turn)))
        found += stream.shuffled(stream.derive(seed, "order", turn), rows)
        turn += 1
    for position, row in enumerate(found):
        # The first four have every rank and every dtype, the first sixteen each rank with each dtype.
        for name, place in (("rank", position), ("dtype", position + position // len(axes["rank"]))):
            if name in axes:
                row[name] = axes[name][place % len(axes[name])]
    for row, anchor in zip(found, _BAG_ANCHORS if "weights" in axes else _ANCHORS, strict=False):
        row.update({name: value for name, value in anchor.items() if value in axes.get(name, ())})
    return found[:count]


def _cases_of(family: Family, signature: dict[str, Any], position: int, most: int) -> Iterator[Any]:
    space = family.space
    draws = stream.Stream(stream.derive("lattice", family.name, position))
    graph = dict(signature)
    rank, sizes = graph.pop("rank"), graph.pop("sizes")
    # The sizes of a module's table are constants of its graph.
    if graph.get("entry") in _FREE_TABLES:
        tables = [draws.choice(_TABLES), draws.choice(_SQUARES), draws.choice(_TABLES) if position % 3 else _ROW]
    else:
        tables = [_ROW if position % 4 == 3 else draws.choice(_SQUARES if position % 3 == 2 else _TABLES)]
    plain = graph.get("layout", "contiguous") == graph.get("index_layout", "contiguous") == "contiguous"
    numels = [draws.choice(_TOKENS) for _ in range(most if plain else 2)]
    names = space.case_type._fields
    known = {*space.axes.get("history", ()), *(LATER if "other_table" in space.axes.get("history", ()) else ())}
    histories = tuple(name for name in CALM if name in known)
    strays = any("out_of_range=-1" in law.must_cover for law in family.laws)
    for turn in range(most):
        rows, width = tables[turn % len(tables)]
        shape = _shape(rank, numels[turn % len(numels)], sizes)
        if sizes == "narrow":
            width = (1, 0)[position % 2]
        chosen = graph | {
            name: draws.choice(values)
            for name, values in space.axes.items()
            if name in ("indices", "values", "upstream", "numel", "bags")
        }
        chosen |= {"num_embeddings": rows, "embedding_dim": width, "shape": shape, "seed": position + 7 * turn}
        if not turn and "special" in space.axes.get("values", ()):
            chosen["values"] = "special"  # a program that is saved is made from the first case
        if histories:
            chosen["history"] = draws.choice(histories)
        if strays and (position + turn) % 5 == 1:
            chosen["out_of_range"] = draws.choice(tuple(STRAYS))
        case = space.repair(space.case_type(**{name: value for name, value in chosen.items() if name in names}))
        if case is not None:
            yield case


def _shape(rank: int, numel: int, sizes: str) -> tuple[int, ...]:
    if sizes == "none" and rank:
        return (0,) if rank == 1 else (0, *(2,) * (rank - 1))
    if sizes == "one" and rank:
        return (1,) * rank if numel % 2 else (1, *(3,) * (rank - 1))
    if rank == 1:
        return (numel,)
    side = max(2, round(numel ** (1 / max(rank, 1))))
    return tuple(side + k for k in range(rank)) if side**rank < 1 << 12 else (2,) * rank
