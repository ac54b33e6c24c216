"""Which cases of gradient_routes there are, and which program runs each."""

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.case import LookupCase
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.core.weight_map import MATHEMATICS
from embcheck.families.gradient import routes
from embcheck.families.gradient_routes import autograd_options, checkpoints, programs, saved_tensors
from embcheck.families.lookup import cases
from embcheck.families.lookup.spelling import ENTRIES, spelled

#: All routes, in the order of the axis.
FURTHER = programs.ROUTES | saved_tensors.ROUTES | autograd_options.ROUTES | checkpoints.ROUTES
#: Routes that look up a part of the tokens at a time.
PARTIAL = frozenset({"micro_batches", "token_by_token"})
#: Routes that mutate tokens, of which a product has saved others, that give them another shape, in which it saves the same, or
#: compute under autocast, which casts products.
NO_PRODUCTS = frozenset(
    {"indices_mutated", "recomputed_otherwise", "checkpointed_under_autocast", "through_autocast_functions"}
)
#: The route whose upstream gradient is sent through a mask.
DROPPING = "dropped_in_checkpoint"


def plan(case: LookupCase) -> Plan:
    return routes.plan(case, FURTHER)


def repair(case: LookupCase) -> LookupCase | None:
    entry = ENTRIES[case.entry]
    changes: dict[str, Any] = {}
    if case.route == "micro_batches" and not case.shape:
        changes["route"] = "token_by_token"
    if case.route in PARTIAL:
        changes["scale_grad_by_freq"] = False  # each part has counts of its own
    if case.route == "token_by_token" and (
        case.numel > 32 or case.numel * case.num_embeddings * case.embedding_dim > 4096
    ):
        changes["route"] = "preset_zeros"
    if case.route == "per_sample":
        # A module's parameter, and an axis of samples; a sample has counts of its own, so that counts have one sample.
        changes |= {"sparse": False, "history": "fresh"}
        changes |= {} if entry.module else {"entry": "module"}
        changes |= {} if len(case.shape) > 1 and not case.scale_grad_by_freq else {"shape": (1, case.numel)}
        if not case.numel or not case.num_embeddings:
            changes["route"] = "preset_zeros"
    if case.route in ("upstreams_batched", "checkpointed_with_two_kept"):
        changes["sparse"] = False
    if case.route == "through_double_backward":  # which scales by no frequency, and is of dense gradients
        changes |= {"sparse": False, "scale_grad_by_freq": False}
        changes |= {} if case.numel else {"route": "preset_zeros"}
    if case.route == "symbolically_traced" and case.entry == "functional_call":
        changes["entry"] = "functional"  # the module that is called is none of the traced function's
    if case.route == DROPPING:
        changes |= {"upstream": "code", "scale_grad_by_freq": False}
        changes |= {"entry": "functional"} if case.entry in MATHEMATICS else {}
    if case.route in NO_PRODUCTS and entry.product:
        changes["entry"] = "functional"
    if case.sparse and case.scale_grad_by_freq:
        changes["sparse"] = False
    return routes.repair(case.but(**changes))


def scope() -> Iterator[LookupCase]:
    """Every route with every shape, and with every choice of flags, dtype and entry."""
    for route in FURTHER:
        yield from cases.shape_cases(route=route)
    flags: tuple[dict[str, Any], ...] = ({}, {"sparse": True}, {"scale_grad_by_freq": True})
    for position, route in enumerate(FURTHER):
        for turn, entry in enumerate(spelled()):
            for fixed in flags:
                dtype = AXES["dtype"][(position + turn) % 4]
                padding = (None, 0, -1)[turn % 3]
                yield LookupCase(
                    3, 2, "uniform", (4,), padding, entry=entry, route=route, dtype=dtype, seed=turn, **fixed
                )


def fixed_cases() -> Iterator[LookupCase]:
    """Routes in turn at sizes beyond the thresholds of ATen's kernels; each once with a sparse gradient of distinct rows."""
    for position, case in enumerate(itertools.islice(cases.fixed_cases(), 0, None, 4)):
        for turn in range(2):
            yield case.but(route=AXES["route"][(7 * turn + position) % len(FURTHER)])
    yield LookupCase(3, 2, "uniform", (4,), route="anomalous", sparse=True)
    yield LookupCase(3, 2, "uniform", (4,), route="anomalous", scale_grad_by_freq=True)
    for route in FURTHER:
        # Both halves of the tokens have as many rows, and no row is in both.
        yield LookupCase(6, 2, "cycle", (4,), route=route, sparse=True)


AXES = routes.AXES | {
    "indices": ("cycle", "same", "padding", "uniform", "unequal", "late_padding", "ends", "descending"),
    "shape": ((3,), (), (4,), (0,), (2, 3), (2, 2, 2), (2, 0)),
    "route": tuple(FURTHER),
    "history": ("fresh", "repeated", "after_backward"),
}

SPACE = Space(
    LookupCase,
    AXES,
    repair,
    lambda: filter(None, map(repair, scope())),
    fixed_cases,
    flags=("route", "padding_idx", "scale_grad_by_freq", "sparse", "dtype"),
    base={"shape": (2, 3), "indices": "uniform"},
    draw=lambda draws: repair(cases.threshold_case(draws, AXES)),
    smaller=cases.smaller_tables,
    strength=2,
)
