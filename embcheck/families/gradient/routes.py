"""Which cases of gradient there are: which routes suit which entries, and what each case runs.

Shared by the families that take gradients of a table (gradient, gradient_routes, padding).
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import EQUAL_IN_SEQUENCE, SHARED, UPSTREAM_LAYOUTS
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space
from embcheck.families.lookup import cases
from embcheck.families.lookup.aimed import aimed_gradient
from embcheck.families.lookup.prior_calls import HISTORIES, PASTS, past_cases
from embcheck.families.lookup.programs import ROUTES, Route, backward
from embcheck.families.lookup.several import several, several_counted
from embcheck.families.lookup.space import is_product
from embcheck.families.lookup.spelling import ENTRIES, flags_of, spelled

#: Routes that exchange the table, which a module's own Parameter does not let them do.
FUNCTIONAL_ROUTES = frozenset({"forward_mode", "vjp", "rows_of_a_leaf"})
#: Routes that need a dense gradient.
DENSE_ROUTES = frozenset({"double_backward", "forward_mode", "vjp", "batched", "rows_of_a_leaf"})
#: The axes of a gradient.
AXES: dict[str, tuple[Any, ...]] = cases.AXES | {
    "values": ("fingerprint", "real", "special"),
    "upstream": ("code", "ones", "real", "special", "tiny", "huge"),
    "upstream_layout": UPSTREAM_LAYOUTS,
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "entry": spelled(),
    "route": tuple(ROUTES),
    "history": tuple(HISTORIES),
    "threads": (1, 2),
}


def plan(case: LookupCase, routes: Mapping[str, Route] = ROUTES) -> Plan:
    """The backward program of a case, on its route."""
    entry = ENTRIES[case.entry]
    many = several_counted if case.scale_grad_by_freq else several
    options = {
        "build": entry.build,
        "history": PASTS[case.history],
        "route": many if case.route == "several" else routes[case.route],
        "flags": flags_of(case, entry),
    }
    inputs = {"weight": case.weight_input, "indices": case.index_input, "upstream": case.upstream_input}
    return Plan(backward, inputs, options, case.threads)


_RULES: tuple[Rule, ...] = (
    (lambda c: c.num_embeddings == 0 or (c.sparse and c.scale_grad_by_freq), {"history": "fresh"}),
    # What is divided would fall between multiples of the smallest number.
    (lambda c: c.upstream == "tiny" and c.scale_grad_by_freq, {"upstream": "code"}),
    (lambda c: is_product(c) and c.num_embeddings * c.numel > 1 << 16, {"entry": "functional"}),
    (lambda c: not ENTRIES[c.entry].flags, {"padding_idx": None, "scale_grad_by_freq": False, "sparse": False}),
    # A product with one_hot spreads what is not finite over a column.
    (lambda c: is_product(c) and c.values == "special", {"values": "fingerprint"}),
    (lambda c: is_product(c) and c.upstream in ("special", "tiny"), {"upstream": "code"}),
    (lambda c: ENTRIES[c.entry].module and c.route in FUNCTIONAL_ROUTES, {"entry": "functional"}),
    (lambda c: c.route in DENSE_ROUTES, {"sparse": False}),
    (lambda c: c.route == "batched", {"scale_grad_by_freq": False}),
    (lambda c: c.route == "batched" and not (c.shape and c.numel), {"route": "backward_call"}),
    (lambda c: c.history == "indices_changed" and c.index_layout == "expanded", {"history": "fresh"}),
    # No row can be padding.
    (lambda c: c.num_embeddings == 0 and c.route == "lookup_between", {"route": "backward_call"}),
    # A table of the other sign has other NaNs, and may be mapped otherwise.
    (
        lambda c: c.route == "several" and (is_product(c) or not ENTRIES[c.entry].own or c.values == "special"),
        {"route": "backward_call"},
    ),
)


def repair(case: LookupCase) -> LookupCase | None:
    found = cases.repair(case)
    if found is None or (is_product(found) and found.num_embeddings == 0):
        return None  # one_hot takes num_classes=0 for "not given"
    found = fitted(found, _RULES)
    if found.route == "several":
        return found.but(padding_idx=found.padding_row)  # from the end it would be another one of more rows
    return found


def fixed_cases() -> Iterator[LookupCase]:
    """Those of a lookup, upstream gradients of strides 0, as sums have, of many columns or tokens, or of sequences, and large
    gradients that are kept."""
    yield from cases.fixed_cases()
    sizes = ((33, 17), (129, 257), (3, 1001))
    for seed, (layout, (width, numel)) in enumerate(itertools.product(("expanded", *SHARED), sizes)):
        for turn, dtype in enumerate(FORMATS):
            k = seed + turn
            yield LookupCase(
                5, width, "unequal", ((numel,), (numel, 1))[k % 2], (None, 1, 0)[k % 3], scale_grad_by_freq=k % 4 == 1,
                sparse=k % 4 == 3, dtype=dtype, upstream_layout=layout, upstream="code" if layout in SHARED else "ones", seed=k,
            )  # fmt: skip

    for k, (shape, dtype) in enumerate(itertools.product(((4, 3), (3, 2, 4)), FORMATS)):
        yield LookupCase(
            5, (3, 33)[k % 2], "unequal", shape, (None, 1, 0)[k % 3], scale_grad_by_freq=k % 4 == 1, sparse=k % 4 == 3,
            dtype=dtype, upstream_layout=EQUAL_IN_SEQUENCE, upstream="code", seed=k,
        )  # fmt: skip

    for k, dtype in enumerate(FORMATS):  # a result for which an allocator may take what it gave before
        yield LookupCase(257, 17, "unequal", (5,), dtype=dtype, history="gradient_held", seed=k)


def refused(case: LookupCase) -> bool:
    """Whether the derivative must be refused: sparse gradients can't be scaled by frequency."""
    return case.refused or (case.sparse and case.scale_grad_by_freq and case.route != "forward_mode")


def scope() -> Iterator[LookupCase]:
    plain = cases.small_cases()
    flagged = (
        case
        for flags in ({"scale_grad_by_freq": True}, {"sparse": True}, {"route": "double_backward"})
        for case in cases.small_cases(**flags)
    )
    shaped = (case for route in ROUTES for case in cases.shape_cases(route=route))
    fixtures: tuple[dict[str, Any], ...] = ({}, {"sparse": True}, {"scale_grad_by_freq": True})
    sized = (case for fixed in fixtures for case in cases.size_cases(**fixed))
    by_entry = (case for entry in spelled() for case in cases.shape_cases(entry=entry))
    later = (case.but(**fixed) for fixed in fixtures for case in past_cases())
    alike = (case for fixed in fixtures for case in cases.coincident_cases(**fixed))
    every = itertools.chain(plain, flagged, shaped, by_entry, later, alike, sized)
    return (case for case in map(repair, every) if case)


SPACE = Space(
    LookupCase,
    AXES,
    repair,
    scope,
    fixed_cases,
    flags=("route", "padding_idx", "scale_grad_by_freq", "sparse", "dtype"),
    base={"shape": (2, 3)},
    draw=lambda draws: repair(cases.threshold_case(draws, AXES)),
    smaller=cases.smaller_tables,
    aim=aimed_gradient,
    aims=4.25,
)
