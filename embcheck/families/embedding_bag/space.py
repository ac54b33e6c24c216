"""The space of bags: its axes, what is executed for a case, and how one is drawn, on both sides of the thresholds."""

from __future__ import annotations

from typing import Any

from embcheck.core import stream
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, UPSTREAM_LAYOUTS
from embcheck.core.space import Space
from embcheck.families.embedding_bag.aimed import aimed_bag
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.embedding_bag.enumerated_cases import MISTAKES, MODES, scope
from embcheck.families.embedding_bag.fixed_cases import fixed_cases
from embcheck.families.embedding_bag.invalid_calls import BAG_MISTAKES, mistaken, mistaken_on_meta
from embcheck.families.embedding_bag.offsets import BAGS
from embcheck.families.embedding_bag.prior_calls import BAG_HISTORIES, BAG_PASTS
from embcheck.families.embedding_bag.programs import BAG_ENTRIES, bag, nested
from embcheck.families.embedding_bag.repair import repair
from embcheck.families.embedding_bag.routes import BAG_ROUTES
from embcheck.families.embedding_bag.several import several, several_counted
from embcheck.families.embedding_bag.smaller import smaller
from embcheck.families.lookup import cases

#: Where the kernels change their path: generated code by width, grain sizes of samples and tokens (EmbeddingBag.cpp).
WIDTHS = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 129, 256, 257)
TOKENS = (0, 1, 2, 3, 5, 8, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 257, 512, 999, 1000, 1001, 1025, 2049, 3072,
          3073)  # fmt: skip
ROWS = (1, 2, 3, 5, 8, 16, 17, 33, 64, 65, 129, 257, 1000, 1001, 2000, 2001, 4097)
_LARGEST = 1 << 16

AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 5, 8),
    "embedding_dim": (2, 1, 3, 8, 17, 0),
    "mode": MODES,
    "numel": (4, 0, 1, 2, 3, 6, 8, 12),
    "bags": BAGS,
    "batch": (False, True),
    "include_last_offset": (False, True),
    "trailing": (0, 1, 3),
    "indices": cases.PATTERN_NAMES,
    "padding_idx": cases.PADDINGS,
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "weights": (None, "ones", "small", "real", "zero", "special"),
    "learns": ("table", "both", "weights", "none"),
    "dtype": tuple(FORMATS),
    "index_dtype": ("int64", "int32"),
    "offset_dtype": ("int64", "int32"),
    "layout": LAYOUTS,
    "index_layout": LAYOUTS,
    "offset_layout": LAYOUTS,
    "weights_layout": LAYOUTS,
    "upstream_layout": UPSTREAM_LAYOUTS,
    "values": ("fingerprint", "small", "real", "special", "poisoned"),
    "upstream": ("code", "ones", "real", "special"),
    "entry": tuple(BAG_ENTRIES),
    "route": tuple(BAG_ROUTES),
    "history": tuple(BAG_HISTORIES),
    "threads": (1, 2),
}


def plan(case: BagCase) -> Plan:
    fed = case.inputs()
    if case.mistake in BAG_MISTAKES:
        program = mistaken_on_meta if case.on_meta else mistaken
        return Plan(program, {"weight": fed["weight"]}, {"call": BAG_MISTAKES[case.mistake]}, case.threads)
    # The default mode is mean: half of the cases leave it to be that.
    flags: dict[str, Any] = {} if case.mode == "mean" and case.seed % 2 else {"mode": case.mode}
    for name in ("padding_idx", "scale_grad_by_freq", "sparse", "include_last_offset"):
        if getattr(case, name) != case._field_defaults[name]:
            flags[name] = getattr(case, name)
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
