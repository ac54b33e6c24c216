"""Sharded: a table in pieces, on several processes, is looked up and learns as in one piece."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck import stream
from embcheck.comparison import refuses, within
from embcheck.law import Family, Plan
from embcheck.lookup.ranks import no_ranks, unmade
from embcheck.lookup.sharded import MADE, USES, sharded
from embcheck.lookup.sharded_case import Sharded
from embcheck.outcome import Outcome
from embcheck.result import Finding
from embcheck.space import Space

_PLACES = {"replicate": None, "rows": 0, "columns": 1}


def plan(case: Sharded) -> Plan:
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


def canonical(case: Sharded) -> Sharded | None:
    """The case with what fits: styles give plain tensors, which have no uses of their own; renorm has no strategy."""
    changes: dict[str, Any] = {}
    if case.made in ("parallelized", "fully_sharded"):
        changes |= {"use": "alone", "tokens_placed": "replicate"}
        if case.made == "fully_sharded" or case.table == "replicate":
            changes["table"] = "rows"
    if case.made != "fully_sharded":
        changes["max_norm"] = None
    if case.stray is not None:
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
    "stray": (None, "V", "-1"),
    "dtype": ("float32", "float64"),
}


def scope() -> Iterator[Sharded]:
    """Every placement with every use on two ranks; each layer with each flag; strays."""
    flags: tuple[dict[str, Any], ...] = (
        {}, {"padding_idx": 0}, {"scale_grad_by_freq": True}, {"max_norm": 64.0}, {"max_norm": 1.0}, {"stray": "V"},
        {"stray": "-1"}, {"padding_idx": -1, "scale_grad_by_freq": True},
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
        fitted = canonical(Sharded(**(table | {"seed": seed} | fixed)))
        if fitted is not None:
            yield fitted


def landmarks() -> Iterator[Sharded]:
    """What every profile runs: each layer in pieces, a tied head, padding, counts, and strays."""
    two = Sharded(num_embeddings=5, shape=(4,), ranks=2)
    yield two.but(use="projected", tokens_placed="first")
    yield two.but(table="rows", padding_idx=int(two.tokens[0]))
    yield two.but(num_embeddings=1, table="columns", scale_grad_by_freq=True)
    yield two.but(table="rows", made="parallelized")
    yield two.but(table="columns", made="parallelized")
    yield two.but(table="rows", made="fully_sharded", max_norm=64.0)
    yield two.but(stray="V")
    yield two.but(table="columns", stray="-1")
    # Pieces of ⌈4/3⌉ rows, of which the last rank has none.
    yield two.but(num_embeddings=4, ranks=3, table="rows", tokens_placed="first")
    yield two.but(num_embeddings=4, ranks=3, table="rows", made="fully_sharded")
    yield two.but(num_embeddings=4, ranks=3, table="rows", made="layer")


def draw(draws: stream.Stream) -> Sharded | None:
    """A random case, mostly without strays."""
    drawn = {name: draws.choice(values) for name, values in AXES.items()}
    if not draws.chance(4):
        drawn["stray"] = None
    return canonical(Sharded(**drawn, seed=draws.between(0, 255)))


family = Family(
    "sharded",
    Space(Sharded, AXES, canonical, scope, landmarks, flags=("ranks", "table"), draw=draw, strength=1),
    plan,
    refused=lambda case: case.stray is not None,
    cost=400.0,
    forks=True,
    stride=2,
    not_applicable=no_ranks,
    untaken=unmade,
)
law = family.law


@law(
    "A lookup gives every rank the rows of its tokens, however table and tokens are placed, and whatever is done with them.",
    source="torch.distributed.tensor: the semantics of a single device; F.embedding",
    obliges={"several", "split", "rows_split", "tokens_split", "uneven", "use=projected", "made=parallelized",
             "made=fully_sharded"},
)  # fmt: skip
def pieces_are_looked_up(case: Sharded, out: Outcome) -> Finding:
    renormed = case.facts()["renormed"]
    return within(out.value, case.used(case.left[case.tokens])[None].repeat(case.ranks, 0),
                  case.slack[case.tokens] if renormed else 0.0)  # fmt: skip


@law(
    "The table's gradient is the sum of what arrives at each row's tokens on all ranks, as if they were on one.",
    source="the chain rule; nn.Embedding: padding_idx, scale_grad_by_freq (of the mini-batch)",
    obliges={"several", "rows_split", "tokens_split", "padding_hit", "scale_grad_by_freq", "repeated", "use=projected"},
)
def pieces_learn(case: Sharded, out: Outcome) -> Finding:
    expected, bound = case.gradient
    return within(out.weight_grad, expected[None].repeat(case.ranks, 0), bound)


@law(
    "The table stays as it is, but for rows over max_norm that were looked up, which are rescaled.",
    source="nn.Embedding: max_norm modifies the weight tensor in-place",
    obliges={"several", "rows_split", "max_norm=64.0"},
)
def pieces_stay_or_are_rescaled(case: Sharded, out: Outcome) -> Finding:
    return within(out.table, case.left[None].repeat(case.ranks, 0), case.slack)


@law(
    "A token outside the table is refused, however the table is placed.",
    source="F.embedding: IndexError",
    refusal=True,
    obliges={"several", "split", "stray=V", "stray=-1"},
)
def pieces_refuse_strays(case: Sharded, out: Outcome) -> Finding:
    return refuses(out, IndexError)


test_scope, test_product, test_random = family.tests()
