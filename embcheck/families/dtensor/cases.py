"""A lookup in a table that several processes share, as a case."""

import itertools
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Input, OfDtype, OfTokens, values_of
from embcheck.core.format import Floats
from embcheck.core.law import Plan
from embcheck.core.oracle import accumulate
from embcheck.core.outcome import Outcome
from embcheck.core.result import Absent
from embcheck.core.space import Space
from embcheck.families.dtensor.programs import APART, MADE, USES, sharded, tied_model

Tokens = npt.NDArray[np.int64]
#: What is added to a norm before something is divided by it (aten::embedding_renorm_).
_EPSILON = 1e-7

_PLACES = {"replicate": None, "rows": 0, "columns": 1}
#: What a use makes of the rows that were looked up, and its adjoint: what arrives at these rows ``w`` of an upstream gradient.
_MATHEMATICS: dict[str, tuple[Callable[[Floats], Any], Callable[[Floats, Floats], Any]]] = {
    "alone": (lambda rows: rows, lambda up, w: up),
    "transposed": (lambda rows: np.swapaxes(rows, 0, -1), lambda up, w: np.swapaxes(up, 0, -1)),
    "stacked": (lambda rows: np.stack([rows, rows]), lambda up, w: up[0] + up[1]),
    "summed": (lambda rows: rows.sum(0), lambda up, w: np.broadcast_to(up, w.shape)),
    "chosen": (lambda rows: rows[0], lambda up, w: np.concatenate([up[None], np.zeros_like(w[1:])])),
    "flattened": (lambda rows: rows.reshape(-1), lambda up, w: up.reshape(w.shape)),
    "unsqueezed": (lambda rows: rows[None], lambda up, w: up[0]),
    "added": (lambda rows: np.maximum(rows, 0) + abs(rows), lambda up, w: up * ((w > 0) + np.sign(w))),
}


class DTensorCase(OfDtype, OfTokens):
    """A table and tokens, each in one piece or in pieces; what is computed from them does not depend on that."""

    num_embeddings: Annotated[int, (3, 4, 5, 1, 8)] = 3
    embedding_dim: Annotated[int, (2, 1, 4, 3)] = 2
    shape: Annotated[tuple[int, ...], ((2,), (4,), (2, 2), (1, 3), (), (5,), (2, 1, 2))] = (2,)
    #: how many processes there are
    ranks: Annotated[int, (1, 2, 3)] = 1
    #: how the table is placed: "replicate", "rows" or "columns"
    table: Annotated[str, tuple(_PLACES)] = "replicate"
    #: how the tokens are placed: "replicate", or sharded along their "first" or "last" axis
    tokens_placed: Annotated[str, ("replicate", "first", "last")] = "replicate"
    made: Annotated[str, tuple(MADE)] = "distributed"
    use: Annotated[str, tuple(USES)] = "alone"
    padding_idx: Annotated[int | None, (None, 0, -1)] = None
    scale_grad_by_freq: Annotated[bool, (False, True)] = False
    max_norm: Annotated[float | None, (None, 64.0, 1.0)] = None
    #: None, or which token is outside the table: "V" or "-1"
    out_of_range: Annotated[str | None, (None, "V", "-1")] = None
    dtype: Annotated[str, ("float32", "float64")] = "float32"
    seed: int = 0

    @cached_property
    def tokens(self) -> Tokens:
        """The tokens; a stray is the last of them."""
        found = stream.below(stream.derive("tokens", self.seed), self.numel, self.num_embeddings)
        if self.out_of_range is not None:
            found[-1] = {"V": self.num_embeddings, "-1": -1}[self.out_of_range]
        return found.reshape(self.shape)

    @property
    def others(self) -> Tokens:
        """The tokens of a second lookup."""
        return (self.tokens + 1) % self.num_embeddings

    @cached_property
    def weight(self) -> Floats:
        """The table, small integers."""
        return stream.small("table", self.seed, (self.num_embeddings, self.embedding_dim))

    @cached_property
    def left(self) -> Floats:
        """The table after the lookup: rows that were looked up and are longer than max_norm are scaled."""
        if self.max_norm is None:
            return self.weight
        norms = np.sqrt((self.weight**2).sum(1, keepdims=True))
        scaled = self.weight * (self.max_norm / (norms + _EPSILON))
        met = np.isin(np.arange(self.num_embeddings), self.tokens)[:, None]
        return np.where(met & (norms > self.max_norm), scaled, self.weight)

    @property
    def slack(self) -> Floats:
        """By how much a renormed element may be off: γ(D + 8) of it, a norm of D terms and what follows; else not."""
        moved = (self.left != self.weight).any(1, keepdims=True)
        return np.where(moved, abs(self.left) * (self.embedding_dim + 8) * self.format.unit_roundoff, 0.0)

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient, of the shape of what the use gives."""
        return stream.small("upstream", self.seed, self.used(self.left[self.tokens % self.num_embeddings]).shape)

    def inputs(self) -> dict[str, Input]:
        fmt = self.format
        return {
            "table": Input(fmt.encode(self.weight), self.dtype),
            "tokens": Input(self.tokens, "int64"),
            "others": Input(self.others, "int64"),
            "upstream": Input(fmt.encode(self.upstream), self.dtype),
        }

    def used(self, rows: Floats) -> Any:
        """What the use makes of the rows that were looked up."""
        if self.use == "another":
            return rows + self.left[self.others]
        return rows @ self.left.T if self.use == "projected" else _MATHEMATICS[self.use][0](rows)

    def arriving(self, upstream: Floats) -> Any:
        """What arrives at the rows that were looked up: the adjoint of the use."""
        if self.use == "projected":
            return upstream @ self.left
        return upstream if self.use == "another" else _MATHEMATICS[self.use][1](upstream, self.left[self.tokens])

    @cached_property
    def gradient(self) -> tuple[Floats, Floats]:
        """dW and its bound: each row's sum over its tokens of what arrives, and the head's part if there is one.

        Sums of integers are exact; where they are divided by how often a token occurs, each of n terms was divided
        and added: γ(n + 3) times the sum of their magnitudes.
        """
        lookups = (self.tokens, self.others) if self.use == "another" else (self.tokens,)
        parts = [self._scattered(tokens, self.arriving(self.upstream)) for tokens in lookups]
        if self.use == "projected":
            rows = self.left[self.tokens].reshape(-1, self.embedding_dim)
            flat = self.upstream.reshape(-1, self.num_embeddings)
            parts.append((flat.T @ rows, abs(flat).T @ abs(rows)))
        total, size = np.sum(parts, axis=0)
        return total, size * ((2 * self.numel + 3) * self.format.unit_roundoff if self.scale_grad_by_freq else 0.0)

    def _scattered(self, tokens: Tokens, arriving: Floats) -> tuple[Floats, Floats]:
        """What arrives at a lookup, sent to its rows, and the same of the magnitudes."""
        kept = tokens.reshape(-1)
        flat = arriving.reshape(-1, self.embedding_dim)
        if self.padding_idx is not None:
            counted = kept != self.padding_idx % self.num_embeddings
            kept, flat = kept[counted], flat[counted]
        counts = np.bincount(kept, minlength=self.num_embeddings) if self.scale_grad_by_freq else np.ones(1)
        total, size = (
            accumulate(kept, self.num_embeddings, given) / np.maximum(counts, 1)[:, None] for given in (flat, abs(flat))
        )
        return total, size

    @property
    def axis(self) -> int | None:
        """Along which axis of the tokens they are sharded."""
        return {"replicate": None, "first": 0, "last": len(self.shape) - 1}[self.tokens_placed]

    @property
    def torn(self) -> bool:
        """Whether a token occurs on two ranks: theirs are pieces of ⌈n / ranks⌉ each."""
        if self.axis is None:
            return False
        length = self.shape[self.axis]
        piece = -(-length // self.ranks)
        owned = [set(part.flat) for part in np.split(self.tokens, range(piece, length, piece), self.axis)]
        return sum(map(len, owned)) > len(set[int]().union(*owned))

    def facts(self) -> dict[str, Any]:
        """rankless: a rank has no row, though there are as many rows as ranks; with fewer DTensor does not split them."""
        length = {"rows": self.num_embeddings, "columns": self.embedding_dim}.get(self.table, self.ranks)
        padding = None if self.padding_idx is None else self.padding_idx % self.num_embeddings
        return {
            **self.axes,
            "several": self.ranks > 1,
            "rank": len(self.shape),
            "split": self.ranks > 1 and self.table != "replicate",
            "rows_split": self.ranks > 1 and self.table == "rows",
            "tokens_split": self.ranks > 1 and self.tokens_placed != "replicate",
            "padded": padding is not None,
            "padding_hit": padding is not None and padding in self.tokens,
            "repeated": len(set(self.tokens.flat)) < self.numel,
            "torn": self.torn,
            "uneven": length % self.ranks != 0,
            "rankless": self.ranks <= length <= -(-length // self.ranks) * (self.ranks - 1),
            "renormed": self.out_of_range is None and bool((self.left != self.weight).any()),
            "refused": self.out_of_range is not None,
        }


def plan(case: DTensorCase) -> Plan:
    options = {
        "make": tied_model if case.made == "tied_model" else MADE[case.made],
        "use": USES[case.use],
        "ranks": case.ranks,
        "place": _PLACES[case.table],
        "tokens_place": case.axis,
        "flags": case.keywords("padding_idx", "scale_grad_by_freq", "max_norm"),
    }
    return Plan(sharded, case.inputs(), options)


def repair(case: DTensorCase) -> DTensorCase:
    """The case with what fits: styles give plain tensors, which have no uses of their own; renorm has no strategy."""
    changes: dict[str, Any] = {}
    if case.made in ("parallelized", "fully_sharded"):
        changes |= {"use": "alone", "tokens_placed": "replicate"}
        if case.made == "fully_sharded" or case.table == "replicate":
            changes["table"] = "rows"
    if case.made == "tied_model":
        changes |= {"use": "projected", "table": "replicate", "scale_grad_by_freq": False, "dtype": "float32"}
        changes |= {"shape": case.shape or (2,)}
    if case.made != "fully_sharded":
        changes["max_norm"] = None
    if case.out_of_range is not None:
        changes |= {"use": "alone", "max_norm": None}
        if case.made == "after_taller":  # what came before is no matter of a stray
            changes["made"] = "distributed"
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


AXES = values_of(DTensorCase)


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
    return (repair(DTensorCase(**(table | {"seed": seed} | fixed))) for seed, fixed in enumerate(chosen))


def fixed_cases() -> Iterator[DTensorCase]:
    """What every profile runs: each layer in pieces, a tied head, padding, counts, and strays."""
    two = DTensorCase(num_embeddings=5, shape=(4,), ranks=2)
    yield two.but(use="projected", tokens_placed="first")
    yield two.but(table="rows", padding_idx=int(two.tokens[0]))
    yield two.but(num_embeddings=3, table="columns", made="after_taller", scale_grad_by_freq=True)
    yield two.but(table="rows", made="parallelized")
    yield two.but(table="rows", made="fully_sharded", max_norm=64.0)
    yield from (
        two.but(made="tied_model", ranks=ranks, padding_idx=padding) for ranks in (1, 2) for padding in (None, 1)
    )
    yield two.but(table="columns", out_of_range="V")
    # Pieces of ⌈4/3⌉ rows, of which the last rank has none.
    yield two.but(num_embeddings=4, ranks=3, table="rows", tokens_placed="first")


def draw(draws: stream.Stream) -> DTensorCase:
    drawn = {name: draws.choice(values) for name, values in AXES.items()}
    if not draws.chance(4):
        drawn["out_of_range"] = None
    return repair(DTensorCase(**drawn, seed=draws.between(0, 255)))


SPACE = Space(DTensorCase, AXES, repair, scope, fixed_cases, flags=("ranks", "table"), draw=draw, strength=1)


def unmade(out: Outcome) -> str | None:
    """What this release or this machine lacks."""
    text = str(out.error or "")
    if text.startswith(APART):
        return APART
    if isinstance(out.error, ImportError) and "torch.distributed" in text:
        return Absent(f"this release has none: {text.splitlines()[0][:80]}")
    if isinstance(out.error, AttributeError) and "'Stream' object has no attribute 'record_event'" in text:
        return Absent("this release's fully_shard needs an accelerator")
    return "this system has no fork" if isinstance(out.error, ValueError) and "'fork'" in text else None
