"""Quantized: a table of eight or four bits looks up what the table does, within half a step of its rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck import stream
from embcheck.comparison import described, is_true, refuses, within
from embcheck.law import Family, Plan
from embcheck.lookup import table
from embcheck.outcome import Outcome
from embcheck.quantized.case import MISTAKES, QuantizedCase
from embcheck.quantized.program import AFTER, MADE, quantized
from embcheck.result import Finding
from embcheck.space import Space


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


def canonical(case: QuantizedCase) -> QuantizedCase | None:
    """The case with axes that fit each other."""
    if case.bits == 4 and case.embedding_dim % 2:
        case = case.but(embedding_dim=case.embedding_dim + 1)  # two elements in a byte
    case = case.but(padding_idx=table.padding_of(case.padding_idx, case.num_embeddings))
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
    return filter(None, map(canonical, _every()))


def _every() -> Iterator[QuantizedCase]:
    for seed, (layer, bits, made, after) in enumerate(itertools.product(("embedding", "bag"), (8, 4), MADE, AFTER)):
        for mode, padding, batch in itertools.product(("sum", "mean", "max"), (None, 0), (False, True)):
            yield QuantizedCase(5, 8, layer, bits, mode, 6, batch=batch, padding_idx=padding, made=made, after=after,
                                include_last_offset=bool(seed % 2), weighted=bool(seed % 3), seed=seed)  # fmt: skip
    for mistake, layer, bits, made in itertools.product(MISTAKES, ("embedding", "bag"), (8, 4), MADE):
        yield QuantizedCase(3, 4, layer, bits, mistake=mistake, made=made)


def landmarks() -> Iterator[QuantizedCase]:
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
    return canonical(QuantizedCase(**{**chosen, **sizes, "mistake": mistake, "seed": draws.between(0, 1 << 16)}))


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

narrow = Family(
    "quantized",
    Space(QuantizedCase, AXES, canonical, scope, landmarks, draw=draw, strength=2),
    plan,
    refused=lambda case: case.refused,
    cost=8.0,
)


@narrow.law(
    "A quantized layer gives what the layer gives that it was made of, within half a step of each row.",
    source="torch.ao.nn.quantized.Embedding, EmbeddingBag: the same interface as torch.nn's",
    obliges={
        "bits=8",
        "bits=4",
        "bag",
        "layer=embedding",
        "batch",
        "weighted",
        "index_dtype=int32",
        "include_last_offset",
    },
)
def quantized_layer_is_near(case: QuantizedCase, out: Outcome) -> Finding:
    return within(out.value, *case.expected)


@narrow.law(
    "The output has a row of the table's width for each token, or each bag.",
    source="torch.nn.Embedding, torch.nn.EmbeddingBag: Shape",
    metadata=True,
)
def quantized_layer_has_shape(case: QuantizedCase, out: Outcome) -> Finding:
    return described(out.value, shape=case.expected[0].shape, dtype="float32")


@narrow.law("A copy of the layer gives what the layer gives.", source="copy.deepcopy, pickle, torch.save")
def quantized_copies_agree(case: QuantizedCase, out: Outcome) -> Finding:
    return is_true(out.as_before, "the copy gives another result")


@narrow.law(
    "A token outside the table, weights for too few tokens and offsets beyond the tokens are refused.",
    source="torch.nn.EmbeddingBag: Args",
    obliges={f"mistake={name}" for name in MISTAKES},
    refusal=True,
)
def quantized_layer_refuses_mistakes(case: QuantizedCase, out: Outcome) -> Finding:
    return refuses(out, RuntimeError, ValueError, IndexError)


test_scope, test_product, test_random = narrow.tests()
