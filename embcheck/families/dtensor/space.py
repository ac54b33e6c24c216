"""Which cases of dtensor there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.dtensor.cases import DTensorCase
from embcheck.families.dtensor.programs import MADE, USES, sharded

_PLACES = {"replicate": None, "rows": 0, "columns": 1}


def plan(case: DTensorCase) -> Plan:
    flags = {name: getattr(case, name) for name in ("padding_idx", "scale_grad_by_freq", "max_norm")}
    options = {
        "make": MADE[case.made],
        "use": USES[case.use],
        "ranks": case.ranks,
        "place": _PLACES[case.table],
        "tokens_place": case.axis,
        "flags": {name: value for name, value in flags.items() if value is not None and value is not False},
    }
    return Plan(sharded, case.inputs(), options)


def repair(case: DTensorCase) -> DTensorCase | None:
    """The case with what fits: styles give plain tensors, which have no uses of their own; renorm has no strategy."""
    changes: dict[str, Any] = {}
    if case.made in ("parallelized", "fully_sharded"):
        changes |= {"use": "alone", "tokens_placed": "replicate"}
        if case.made == "fully_sharded" or case.table == "replicate":
            changes["table"] = "rows"
    if case.made != "fully_sharded":
        changes["max_norm"] = None
    if case.out_of_range is not None:
        changes |= {"use": "alone", "max_norm": None}
    if not case.shape:
        changes["tokens_placed"] = "replicate"
        if case.use in ("transposed", "summed", "chosen"):
            changes["use"] = "alone"
    if case.use == "flattened":
        # An axis that is split evenly can be flattened where it leads; for others DTensor asks for a redistribution.
        if case.table == "columns" and (case.ranks == 1 or case.embedding_dim % case.ranks):
            changes["table"] = "rows"
        if case.tokens_placed == "last" or case.shape[:1] == (1,) or (case.shape and case.shape[0] % case.ranks):
            changes["tokens_placed"] = "replicate"
    if case.padding_idx is not None:
        changes["padding_idx"] = max(-case.num_embeddings, min(case.padding_idx, case.num_embeddings - 1))
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 4, 5, 1, 8),
    "embedding_dim": (2, 1, 4, 3),
    "shape": ((2,), (4,), (2, 2), (1, 3), (), (5,), (2, 1, 2)),
    "ranks": (1, 2, 3),
    "table": tuple(_PLACES),
    "tokens_placed": ("replicate", "first", "last"),
    "made": tuple(MADE),
    "use": tuple(USES),
    "padding_idx": (None, 0, -1),
    "scale_grad_by_freq": (False, True),
    "max_norm": (None, 64.0, 1.0),
    "out_of_range": (None, "V", "-1"),
    "dtype": ("float32", "float64"),
}


def scope() -> Iterator[DTensorCase]:
    """Every placement with every use on two ranks; each layer with each flag; strays."""
    flags: tuple[dict[str, Any], ...] = (
        {}, {"padding_idx": 0}, {"scale_grad_by_freq": True}, {"max_norm": 64.0}, {"max_norm": 1.0}, {"out_of_range": "V"},
        {"out_of_range": "-1"}, {"padding_idx": -1, "scale_grad_by_freq": True},
    )  # fmt: skip
    table = {"num_embeddings": 4, "shape": (4,), "ranks": 2}
    chosen = [
        *({"table": place, "tokens_placed": tokens, "use": use}
          for place, tokens, use in itertools.product(_PLACES, ("replicate", "first"), USES)),
        *({"made": made, "table": place, **fixed} for made, place, fixed in itertools.product(MADE, _PLACES, flags)),
        *({"tokens_placed": "first", "table": place, **fixed} for place, fixed in itertools.product(_PLACES, flags[:3])),
        *({"use": use, "ranks": ranks, "table": "rows", "shape": (2,)} for use, ranks in itertools.product(USES, (1, 2))),
    ]  # fmt: skip
    for seed, fixed in enumerate(chosen):
        fitted = repair(DTensorCase(**(table | {"seed": seed} | fixed)))
        if fitted is not None:
            yield fitted


def fixed_cases() -> Iterator[DTensorCase]:
    """What every profile runs: each layer in pieces, a tied head, padding, counts, and strays."""
    two = DTensorCase(num_embeddings=5, shape=(4,), ranks=2)
    yield two.but(use="projected", tokens_placed="first")
    yield two.but(table="rows", padding_idx=int(two.tokens[0]))
    yield two.but(num_embeddings=1, table="columns", scale_grad_by_freq=True)
    yield two.but(table="rows", made="parallelized")
    yield two.but(table="columns", made="parallelized")
    yield two.but(table="rows", made="fully_sharded", max_norm=64.0)
    yield two.but(out_of_range="V")
    yield two.but(table="columns", out_of_range="-1")
    # Pieces of ⌈4/3⌉ rows, of which the last rank has none.
    yield two.but(num_embeddings=4, ranks=3, table="rows", tokens_placed="first")
    yield two.but(num_embeddings=4, ranks=3, table="rows", made="fully_sharded")
    yield two.but(num_embeddings=4, ranks=3, table="rows", made="layer")


def draw(draws: stream.Stream) -> DTensorCase | None:
    """A random case, mostly without strays."""
    drawn = {name: draws.choice(values) for name, values in AXES.items()}
    if not draws.chance(4):
        drawn["out_of_range"] = None
    return repair(DTensorCase(**drawn, seed=draws.between(0, 255)))


SPACE = Space(DTensorCase, AXES, repair, scope, fixed_cases, flags=("ranks", "table"), draw=draw, strength=1)
