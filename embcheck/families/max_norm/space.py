"""Which cases of max_norm there are, and which program runs each."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import UPSTREAM_LAYOUTS
from embcheck.core.space import Space
from embcheck.core.targets import Unmet, Wish
from embcheck.families.lookup import cases
from embcheck.families.lookup.aimed import EARLIER, SEVERAL, layout_of, special_as_wished, width_of
from embcheck.families.lookup.aimed_tokens import attempts, tokens
from embcheck.families.lookup.prior_calls import HISTORIES, PASTS, past_cases
from embcheck.families.lookup.spelling import flags_of
from embcheck.families.max_norm.cases import MaxNormCase
from embcheck.families.max_norm.programs import SPELLINGS, TAKES, renormalise, several, several_wider

MAX_NORMS = (1.0, None, 0.0, 0.5, 5, 2.5, 0.1, 10.0, 100.0, 1e-8, 1e15, float("inf"), -1.0)

#: The p of each p-norm; all are homogeneous, so that rescaling can reach max_norm.
NORM_TYPES = (2.0, 1.0, 3.0, 0.5, float("inf"), 1.5, 4, float("-inf"), -1.0, -2.0, 2.5)


def plan(case: MaxNormCase) -> Plan:
    entry = SPELLINGS[case.entry]
    options = {
        "build": entry.build,
        "history": PASTS[case.history],
        "route": TAKES["plain" if case.route == "several" else case.route],
        # The smallest magnitude, and what is raised to a power below zero, would be that of a zero.
        **({"several": several_wider if case.norm_type >= 0 else several} if case.route == "several" else {}),
        "flags": flags_of(case, entry) | ({"include_last_offset": True} if case.includes_last else {}),
        "requires_grad": case.requires_grad,
    }
    inputs = {"weight": case.weight_input, "indices": case.index_input, "upstream": case.upstream_input}
    return Plan(renormalise, inputs, options, case.threads)


def repair(case: MaxNormCase) -> MaxNormCase | None:
    changes: dict[str, Any] = {} if case.route in (*TAKES, "several") else {"route": "plain"}
    if case.entry.startswith("bag") and not (case.num_embeddings and case.embedding_dim and case.numel):
        changes["entry"] = "functional"
    if case.layout == "expanded":
        changes["layout"] = "column_slice"  # rows that share memory can't be written one by one
    if case.upstream in ("special", "tiny", "huge"):
        changes["upstream"] = "code"
    case = case.but(**changes)
    lacking = {"padding_idx": None, "scale_grad_by_freq": False, "sparse": False}
    case = case.but(**{name: v for name, v in lacking.items() if name not in SPELLINGS[case.entry].flags})
    if case.sparse and (case.scale_grad_by_freq or case.route != "plain"):
        case = case.but(sparse=False)
    if case.values != "mixed" and case.route in ("cloned_before", "used_after"):
        case = case.but(route="plain")  # squares of what is huge or no number
    if case.out_of_range is not None or not case.num_embeddings:
        case = case.but(history="fresh", route="plain")
    if not case.embedding_dim and case.history != "fresh":
        case = case.but(history="fresh")
    if case.history == "indices_changed" and case.index_layout == "expanded":
        case = case.but(history="fresh")
    if case.entry.startswith("bag") and case.history == "other_shape":
        case = case.but(history="repeated")
    own = SPELLINGS[case.entry].own  # another may know how many rows it was built with
    if case.route == "several" and (
        not own or case.history != "fresh" or case.padding_idx is not None or case.values in ("special", "huge")
    ):
        case = case.but(route="plain")
    fitted: MaxNormCase | None = cases.repair(case)  # type: ignore[assignment]
    if fitted is not None and fitted.route == "used_before":
        # Only a lookup that certainly writes must be refused, and only where the weight is part of a graph.
        fitted = fitted.but(history="fresh", requires_grad=True)
        if not fitted.spent:
            fitted = fitted.but(route="plain")
    return fitted


def scope() -> Iterator[MaxNormCase]:
    """Every sequence of up to 4 tokens, every shape, every size, with every spelling, limit and norm in turn."""
    kinds = itertools.cycle(itertools.product(MAX_NORMS, NORM_TYPES, SPELLINGS))
    every_case = itertools.chain(
        cases.small_cases(), cases.small_cases(), cases.shape_cases(), cases.size_cases(), cases.size_cases()
    )
    for seed, case in enumerate(every_case):
        max_norm, norm_type, entry = next(kinds)
        changes = {"max_norm": max_norm, "norm_type": norm_type, "entry": entry}
        yield MaxNormCase(*case).but(seed=seed, values="mixed", **changes)
    # Each of these histories has some twenty cases in a row: limit, norm and spelling change from each to the next, that
    # every history meets the limits that rescale; and now and then none, where the table does not learn.
    past = zip(past_cases(), *map(itertools.cycle, (MAX_NORMS, NORM_TYPES, SPELLINGS)), strict=False)
    for seed, (case, max_norm, norm_type, entry) in enumerate(past):
        kept = seed % 4 != 2 and case.entry in SPELLINGS
        max_norm = None if seed % 8 == 0 else max_norm
        changes = {"max_norm": max_norm, "norm_type": norm_type, "entry": case.entry if kept else entry}
        yield MaxNormCase(*case).but(seed=seed, values="mixed", **changes)
    strays = itertools.product(cases.STRAY_AXIS[1:], SPELLINGS, ((), (1,), (3,), (2, 2)))
    for seed, (out_of_range, entry, shape) in enumerate(strays):
        given = MaxNormCase(3, 2, "cycle", shape, max_norm=1.0, values="mixed")
        yield given.but(out_of_range=out_of_range, entry=entry, seed=seed)


def fixed_cases() -> Iterator[MaxNormCase]:
    """What the obligations ask for, in every profile; then tables and token counts beyond the thresholds."""
    first = MaxNormCase(14, 3, "permutation", (2, 14), max_norm=5.0, values="mixed")
    for entry, dtype in itertools.product(SPELLINGS, FORMATS):
        yield first.but(entry=entry, dtype=dtype, sparse=dtype == "float32", padding_idx=1)
    for p, max_norm, dtype in itertools.product(NORM_TYPES, MAX_NORMS, FORMATS):
        yield first.but(norm_type=p, max_norm=max_norm, dtype=dtype, seed=3)
    for route, requires_grad, indices in itertools.product(TAKES, (True, False), ("unequal", "same", "ends")):
        yield first.but(route=route, requires_grad=requires_grad, indices=indices, shape=(1, 5, 1, 2))
    for values, p in itertools.product(("special", "huge"), NORM_TYPES):
        yield first.but(values=values, norm_type=p)
    for out_of_range, entry in itertools.product(cases.STRAY_AXIS[1:], ("functional", "module", "bag_sum", "renorm_")):
        yield first.but(out_of_range=out_of_range, entry=entry, max_norm=1.0, shape=(4,), index_dtype="int32")
    for position, case in enumerate(cases.fixed_cases()):
        yield MaxNormCase(*case).but(
            values="mixed", max_norm=(1.0, 5.0, 0.1)[position % 3], norm_type=(2.0, 1.0, 2.0, 3.0)[position % 4],
            entry=("functional", "module", "bag_sum")[position % 3],
        )  # fmt: skip
    for position, (width, p) in enumerate(itertools.product((64, 65, 129, 257, 513), NORM_TYPES)):
        yield MaxNormCase(14, width, "permutation", (14,), max_norm=(2.5, 5.0)[position % 2], norm_type=p, values="mixed",
                         dtype=tuple(FORMATS)[position // 2 % 4], seed=position)  # fmt: skip
    for entry, dtype, p in itertools.product(("functional", "bag_sum"), FORMATS, (2.0, 1.0, 3.0)):
        # Squares that a narrow format does not hold, of norms that it does.
        yield first.but(entry=entry, dtype=dtype, norm_type=p, max_norm=1000.0)
    for position, (rows, threads) in enumerate(itertools.product((1001, 1025, 2049), (1, 2))):
        # So many different rows, each of them once.
        yield MaxNormCase(rows, 2, "permutation", (rows,), max_norm=1.0, values="mixed", threads=threads,
                         entry=("functional", "bag_sum", "renorm_")[position % 3], seed=position)  # fmt: skip
    for position, (numel, threads) in enumerate(itertools.product((999, 1000, 1001), (1, 2))):
        p = (2.0, 1.0, 3.0, float("inf"), 0.5)[position % 5]
        yield MaxNormCase(7, 3, "uniform", (numel,), max_norm=1.0, values="mixed", threads=threads)
        yield MaxNormCase(1001, 3, "uniform", (numel,), max_norm=1.0, norm_type=p, values="mixed", threads=threads)


_AIMED_NORM_TYPES = (2.0, 2.0, 1.0, 3.0, float("inf"), 0.5, 0.0)
_AIMED_MAX_NORMS = (1.0, 1.0, 0.5, 0.0005, 0.0005, 2.5, 5.0, 0.0)
#: A shape's tokens, most of them different rows: what matters is how many of them are over the limit.
_NUMELS = (1, 2, 3, 9, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 768, 769, 1000, 1001, 3073)


def renorm_case(wish: Wish) -> MaxNormCase:
    """A lookup whose renorm is as wished.  Raises Unmet if this draw comes to none."""
    draws = wish.draws
    given = tokens(wish, (1, 1, 2, 3, 0), _NUMELS, paddings=False)
    width = width_of(wish, given.num_embeddings, given.numel, (1 << 13, 1 << 15, 1 << 17))
    earlier = wish.number("earlier", (*(0,) * 6, 1, 2, 3), 0, 3)
    case = MaxNormCase(*given).but(
        embedding_dim=width,
        max_norm=wish.choice("max_norm", _AIMED_MAX_NORMS), norm_type=wish.choice("norm_type", _AIMED_NORM_TYPES),
        dtype=wish.choice("dtype", tuple(FORMATS)), layout=layout_of(wish, "layout"), values="mixed",
        entry=draws.choice(("functional", "functional", "module", "renorm_")), route="plain",
        history=EARLIER[earlier][0], threads=wish.number("threads", (1, 1, 1, 2), 1, 2),
    )  # fmt: skip
    if wish.asks("rescaled") and not wish.asks("max_norm") and draws.chance(2):
        case = _limited(wish, case.but(values="real"))
    several = case.history == "fresh" and max(case.num_embeddings, given.numel) * width <= SEVERAL
    several = several and not draws.chance(4)
    case = case.but(route="several") if several else case.but(padding_idx=draws.choice((None, 0, -1)))
    if not wish.met({"elements": case.num_embeddings * case.embedding_dim}):
        raise Unmet("elements")
    if not _rescaled_as_wished(wish, case) or not special_as_wished(wish, lambda: case.weight_values):
        raise Unmet("rows")
    return case


def _rescaled_as_wished(wish: Wish, case: MaxNormCase) -> bool:
    """Whether as many rows are rescaled and kept as is wished."""
    different = int(case.looked_up.sum())

    def met(over: int) -> bool:
        return wish.met({"rescaled": over, "kept": different - over})

    # Where both none and all of them would do, any number does, and it is not computed.
    return (met(0) and met(different)) or met(int((case.fate.scaled & case.looked_up).sum()))


def _limited(wish: Wish, case: MaxNormCase) -> MaxNormCase:
    """The case with a limit that as many rows exceed, of those that are looked up, as is wished."""
    norms = np.sort(case.fate.norm[case.looked_up])
    over = wish.number("rescaled", (1, 2, 3, 9), 1, len(norms))
    below = norms[-over - 1] if over < len(norms) else 0.0
    return case.but(max_norm=float(below + norms[-over]) / 2)


AXES: dict[str, tuple[Any, ...]] = cases.AXES | {
    "num_embeddings": (3, 1, 2, 5, 14, 17),
    "values": ("mixed", "real", "small", "special", "huge"),
    "max_norm": MAX_NORMS,
    "norm_type": NORM_TYPES,
    "upstream": ("code", "ones", "real"),
    "upstream_layout": UPSTREAM_LAYOUTS,
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "requires_grad": (True, False),
    "entry": tuple(SPELLINGS),
    "route": tuple(TAKES),
    "history": tuple(HISTORIES),
    "threads": (1, 2),
}

SPACE = Space(
    MaxNormCase,
    AXES,
    repair,
    lambda: filter(None, map(repair, scope())),
    fixed_cases,
    flags=("entry", "norm_type", "padding_idx", "route", "dtype"),
    base={"num_embeddings": 14, "shape": (2, 7), "max_norm": 5.0},
    draw=lambda draws: repair(MaxNormCase(*cases.threshold_case(draws, AXES | {"out_of_range": cases.STRAY_AXIS}))),
    smaller=cases.smaller_tables,
    aim=lambda wish: attempts(wish, renorm_case),
    strength=2,
)
