"""Which cases of lookup there are, and which program runs each."""

from collections.abc import Iterator
from itertools import chain

from embcheck.core.case import LookupCase
from embcheck.core.law import Plan
from embcheck.core.layout import SHARED
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space
from embcheck.families.lookup import cases as table
from embcheck.families.lookup.aimed import product_case
from embcheck.families.lookup.aimed_tokens import attempts
from embcheck.families.lookup.prior_calls import HISTORIES, LEARNING, PASTS, past_cases
from embcheck.families.lookup.programs import forward
from embcheck.families.lookup.spelling import ENTRIES, flags_of, spelled


def plan(case: LookupCase) -> Plan:
    entry = ENTRIES[case.entry]
    options = {
        "build": entry.build,
        "history": PASTS[case.history],
        "flags": flags_of(case, entry),
        "requires_grad": case.requires_grad,
    }
    return Plan(forward, {"weight": case.weight_input, "indices": case.index_input}, options, case.threads)


def is_product(case: LookupCase) -> bool:
    return ENTRIES[case.entry].product


_RULES: tuple[Rule, ...] = (
    (lambda c: c.out_of_range is not None or c.num_embeddings == 0, {"history": "fresh"}),
    # What is sparse and scaled has no backward.
    (lambda c: c.sparse and c.scale_grad_by_freq and c.history in LEARNING, {"history": "fresh"}),
    # Nothing can be written to these.
    (lambda c: c.layout in SHARED, {"requires_grad": False}),
    (lambda c: c.layout in SHARED and c.history != "fresh", {"history": "repeated"}),
    (lambda c: c.index_layout == "expanded" and c.history == "indices_changed", {"history": "fresh"}),
    (lambda c: "padding_idx" not in ENTRIES[c.entry].flags, {"padding_idx": None}),
    (is_product, {"scale_grad_by_freq": False, "sparse": False}),
    # A product with one_hot spreads NaN and infinity over a column: that has a law of its own.
    (lambda c: is_product(c) and c.values == "special", {"values": "fingerprint"}),
    (lambda c: is_product(c) and c.num_embeddings * c.numel > 1 << 18, {"entry": "functional"}),
    (lambda c: c.layout == "expanded", {"values": "fingerprint", "layout": "column_slice"}),
)


def repair(case: LookupCase) -> LookupCase | None:
    found = table.repair(case)
    if found is None or (is_product(found) and found.num_embeddings == 0):
        return None  # one_hot takes num_classes=0 for "not given"
    return fitted(found, _RULES)


def scope() -> Iterator[LookupCase]:
    every_entry = (case for entry in spelled() for case in table.shape_cases(entry=entry))
    strays = (
        LookupCase(rows, 2, "cycle", shape, out_of_range=out_of_range, entry=entry, seed=seed)
        for entry in spelled()
        for rows in (1, 2, 3)
        for seed, shape in enumerate(((), (1,), (3,), (2, 2), (1, 2, 2)))
        for out_of_range in table.STRAY_AXIS[1:]
    )
    narrow = (
        LookupCase(2, 2, "cycle", (3,), out_of_range=place, index_dtype="int32") for place in table.STRAY_AXIS[1:]
    )
    sized = chain(table.coincident_cases(), table.size_cases())
    tall = (LookupCase(1001, 1, "cycle", (3,), out_of_range=place) for place in table.STRAY_AXIS[1:])
    found = chain(table.small_cases(), every_entry, strays, narrow, past_cases(), sized, tall)
    return (case for case in map(repair, found) if case)


AXES = table.AXES | {
    "values": ("fingerprint", "small", "real", "special"),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "requires_grad": (True, False),
    "entry": spelled(),
    "history": tuple(HISTORIES),
    "threads": (1, 2),
    "out_of_range": table.STRAY_AXIS,
}

SPACE = Space(
    LookupCase,
    {name: values for name, values in AXES.items() if name != "out_of_range"},
    repair,
    scope,
    table.fixed_cases,
    flags=("entry", "padding_idx", "scale_grad_by_freq", "sparse", "requires_grad", "dtype", "index_dtype"),
    base={"values": "special"},
    draw=lambda draws: repair(table.threshold_case(draws, AXES)),
    smaller=table.smaller_tables,
    aim=lambda wish: attempts(wish, product_case),
    aims=0.5,
)
