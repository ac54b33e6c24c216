"""The space of bags: its axes, what is executed for a case, and how one is drawn, on both sides of the thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import values_of
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.embedding_bag.aimed import aimed_bag
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.embedding_bag.enumerated_cases import MISTAKES, fixed_cases, scope
from embcheck.families.embedding_bag.invalid_calls import BAG_MISTAKES, mistaken, mistaken_on_meta
from embcheck.families.embedding_bag.programs import BAG_ENTRIES, BAG_PASTS, bag, nested
from embcheck.families.embedding_bag.repair import repair
from embcheck.families.embedding_bag.routes import BAG_ROUTES
from embcheck.families.embedding_bag.several import several, several_counted

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


def smaller(case: BagCase) -> Iterator[BagCase]:
    for axis, floor in (("num_embeddings", 1), ("embedding_dim", 1), ("numel", 0), ("trailing", 0)):
        step = getattr(case, axis) - floor
        while step > 0:
            fewer: dict[str, Any] = {axis: getattr(case, axis) - step}
            if axis == "num_embeddings" and isinstance(case.indices, tuple):
                fewer["indices"] = tuple(min(token, fewer[axis] - 1) for token in case.indices)
            written_out = isinstance(case.indices, tuple) or (axis == "numel" and isinstance(case.bags, tuple))
            if axis in ("num_embeddings", "embedding_dim") or not written_out:
                yield case.but(**fewer)
            step //= 2
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
