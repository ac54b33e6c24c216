"""Which cases of padding there are, and which program runs each."""

import itertools
from collections.abc import Iterator

from embcheck.core.case import LookupCase
from embcheck.core.space import Space
from embcheck.families.gradient import routes
from embcheck.families.lookup import cases
from embcheck.families.lookup.prior_calls import past_cases
from embcheck.families.lookup.spelling import ENTRIES, spelled

#: Routes whose gradient is masked: all that go backward.
ROUTES = tuple(route for route in routes.AXES["route"] if route != "forward_mode")


def repair(case: LookupCase) -> LookupCase | None:
    """The case with a padding row; spellings that have none are left to the gradient family."""
    if ENTRIES[case.entry].product or case.num_embeddings == 0:
        return None
    if case.sparse and case.scale_grad_by_freq:
        case = case.but(sparse=False)
    fitted = routes.repair(case)
    return None if fitted is None or fitted.padding_row is None else fitted


def scope() -> Iterator[LookupCase]:
    every_pair = (
        LookupCase(rows, 2, pattern, (5,), padding, sparse=sparse, scale_grad_by_freq=scale)
        for rows in range(1, 9)
        for padding in range(-rows, rows)
        for pattern in cases.PATTERN_NAMES
        for sparse, scale in ((False, False), (True, False), (False, True))
    )
    small = itertools.chain(cases.small_cases(), cases.small_cases(sparse=True), cases.small_cases(entry="module"))
    return (case for case in map(repair, itertools.chain(small, past_cases(), every_pair)) if case)


AXES = routes.AXES | {
    "padding_idx": tuple(name for name in cases.PADDINGS if name is not None),
    "entry": tuple(name for name in spelled() if not ENTRIES[name].product),
    "route": ROUTES,
}

SPACE = Space(
    LookupCase,
    AXES,
    repair,
    scope,
    routes.fixed_cases,
    flags=("padding_idx", "scale_grad_by_freq", "sparse", "dtype", "index_dtype"),
    base={"shape": (2, 3)},
    draw=lambda draws: repair(cases.threshold_case(draws, AXES)),
    smaller=cases.smaller_tables,
    strength=2,
)
