"""Which cases of quantized_embedding there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.lookup import cases
from embcheck.families.quantized_embedding.cases import MISTAKES, QuantizedCase
from embcheck.families.quantized_embedding.programs import AFTER, MADE, quantized


def plan(case: QuantizedCase) -> Plan:
    flags = {name: value for name, value in case.axes.items() if name in ("mode", "padding_idx", "include_last_offset")}
    if case.layer == "embedding":
        flags = {"padding_idx": case.padding_idx}
    options = {
        "make": MADE[case.made],
        "act": AFTER[case.after],
        "layer": case.layer,
        "bits": case.bits,
        "flags": flags,
    }
    return Plan(quantized, case.inputs(), options)


def repair(case: QuantizedCase) -> QuantizedCase | None:
    """The case with axes that fit each other."""
    if case.bits == 4 and case.embedding_dim % 2:
        case = case.but(embedding_dim=case.embedding_dim + 1)  # two elements in a byte
    case = case.but(padding_idx=cases.padding_of(case.padding_idx, case.num_embeddings))
    if case.layer == "embedding":
        plain = {"mode": "sum", "include_last_offset": False, "weighted": False, "length": 1, "batch": False}
        case = case.but(**plain)
        if case.bits == 4 and not case.numel:
            case = case.but(numel=1)  # what comes out has a negative width, and can't be read
    if case.batch:
        case = case.but(numel=case.numel - case.numel % case.length)
    if not case.numel or case.mode != "sum":
        case = case.but(weighted=False)
    if case.mistake is not None:
        bagged = case.layer == "bag" and case.numel > 0
        flat = bagged and not case.batch
        # A lone offset is where the first bag starts, of which no document of the quantized bags speaks.
        several = case.numel > case.length or case.include_last_offset
        takes = {"too_few_weights": flat, "offsets_beyond": flat and several}
        if not takes.get(case.mistake, case.numel > 0):
            return None
        case = case.but(padding_idx=None, after="nothing", mode="sum", weighted=case.mistake == "too_few_weights")
    return case


def scope() -> Iterator[QuantizedCase]:
    """Every layer with either width, however it is made and copied, with every mode; every mistake."""
    return filter(None, map(repair, _every()))


def _every() -> Iterator[QuantizedCase]:
    for seed, (layer, bits, made, after) in enumerate(itertools.product(("embedding", "bag"), (8, 4), MADE, AFTER)):
        for mode, padding, batch in itertools.product(("sum", "mean", "max"), (None, 0), (False, True)):
            yield QuantizedCase(5, 8, layer, bits, mode, 6, batch=batch, padding_idx=padding, made=made, after=after,
                                include_last_offset=bool(seed % 2), weighted=bool(seed % 3), seed=seed)  # fmt: skip
    for mistake, layer, bits, made in itertools.product(MISTAKES, ("embedding", "bag"), (8, 4), MADE):
        yield QuantizedCase(3, 4, layer, bits, mistake=mistake, made=made)


def fixed_cases() -> Iterator[QuantizedCase]:
    """Widths on both sides of vectors, many tokens, and every mistake."""
    for seed, (width, layer, bits) in enumerate(itertools.product((2, 16, 17, 64, 129), ("embedding", "bag"), (8, 4))):
        yield QuantizedCase(9, width, layer, bits, numel=33, length=4, indices="uniform", seed=seed,
                            index_dtype=("int64", "int32")[seed % 2], values=("fingerprint", "real")[seed % 2])  # fmt: skip
    yield from (QuantizedCase(layer="bag", mistake=mistake) for mistake in MISTAKES)


def draw(draws: stream.Stream) -> QuantizedCase | None:
    """A random case of middling size."""
    chosen: dict[str, Any] = {name: draws.choice(values) for name, values in AXES.items()}
    sizes = {
        "num_embeddings": draws.between(1, 40),
        "embedding_dim": draws.between(1, 70),
        "numel": draws.between(0, 40),
    }
    mistake = draws.choice(MISTAKES) if draws.chance(8) else None
    return repair(QuantizedCase(**{**chosen, **sizes, "mistake": mistake, "seed": draws.between(0, 1 << 16)}))


AXES = {
    "num_embeddings": (3, 1, 5, 17),
    "embedding_dim": (4, 1, 2, 8, 17),
    "layer": ("embedding", "bag"),
    "bits": (8, 4),
    "mode": ("sum", "mean", "max"),
    "numel": (4, 0, 1, 6),
    "length": (2, 1, 3),
    "batch": (False, True),
    "include_last_offset": (False, True),
    "padding_idx": (None, 0, -1),
    "weighted": (False, True),
    "indices": ("cycle", "uniform", "same", "late_padding"),
    "index_dtype": ("int64", "int32"),
    "values": ("fingerprint", "real", "small"),
    "made": tuple(MADE),
    "after": tuple(AFTER),
}


SPACE = Space(QuantizedCase, AXES, repair, scope, fixed_cases, draw=draw, strength=2)
