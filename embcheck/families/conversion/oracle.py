"""What a conversion gives and what goes back through it, each with its bound: float64 and the definitions."""

from functools import lru_cache

import numpy as np

from embcheck.core.format import Floats
from embcheck.core.oracle import Expected, product
from embcheck.core.oracle import weight_gradient as gradient_of
from embcheck.families.conversion.cases import ConversionCase


def shaped(expected: Expected, shape: tuple[int, ...]) -> Expected:
    """Numbers and their bounds in a shape."""
    return expected[0].reshape(shape), expected[1].reshape(shape)


def value(case: ConversionCase) -> Expected:
    """The target's output, shape (*shape, D): X Wᵀ + b, or W[i]."""
    shape = (*case.shape, case.embedding_dim)
    table = case.lookup.weight_values
    if not case.to_linear:
        return table[case.lookup.tokens].reshape(shape), np.zeros(shape)
    if case.input != "dense":
        exact = case.computed.rounded(table[case.lookup.tokens] + case.bias_values)
        return exact.reshape(shape), np.zeros(shape)
    wide = np.hstack([case.input_values, np.ones((case.numel, 1))])
    return shaped(product(wide, np.vstack([table, case.bias_values]), case.computed), shape)


def tangent(case: ConversionCase) -> Expected:
    """The derivative of X Wᵀ + b along X, W and b themselves, shape (*shape, D): 2 X Wᵀ + b."""
    x, table = case.input_values, case.lookup.weight_values
    wide = np.hstack([x, x, np.ones((case.numel, 1))])
    found = product(wide, np.vstack([table, table, case.bias_values]), case.computed)
    return shaped(found, (*case.shape, case.embedding_dim))


def second_derivative(case: ConversionCase) -> Expected:
    """The derivative of ⟨dY W, X⟩ by W, shape (D, V): dYᵀ X."""
    return product(case.upstream_values.T, case.input_values, case.computed)


@lru_cache(maxsize=1)  # several laws ask it of one case
def weight_gradient(case: ConversionCase) -> Expected:
    """The gradient of the converted parameter, in its own shape."""
    if not case.to_linear:
        return gradient_of(case.lookup, case.passes)
    return product(case.passes * case.upstream_values.T, case.input_values, case.computed)


def input_gradient(case: ConversionCase, passes: int = 1) -> Expected:
    """The gradient of the linear layer's input after so many backward passes, shape (*shape, V)."""
    found = product(passes * case.upstream_values, case.lookup.weight_values.T, case.computed)
    return shaped(found, (*case.shape, case.num_embeddings))


def source_gradient(case: ConversionCase) -> Expected | None:
    """What the source's own backward leaves in its weight; None if nothing."""
    if case.company in ("alone", "several") or case.source not in ("plain", "from_pretrained_open"):
        return None
    if case.company == "backward_before" and case.later == "deepcopied":
        return None  # a deep copy of a parameter has no gradient
    times = case.passes if case.company == "one_loss" else 1
    if case.company == "backward_before" and case.later == "zeroed":
        times = 0
    if case.to_linear:
        return gradient_of(case.lookup.but(upstream="ones"), times)
    counts = np.broadcast_to(times * case.lookup.counts.astype(np.float64), case.memory_shape)
    return counts, np.zeros(case.memory_shape)


@lru_cache(maxsize=1)  # several laws ask it of one case
def stepped(case: ConversionCase) -> Expected:
    """The converted parameter after a step of plain SGD with a rate of 1/2: one rounding of W − dW/2."""
    start = case.lookup.weight_values.T if case.to_linear else case.lookup.weight_values
    if not case.trainable:
        return start, np.zeros(start.shape)
    grad, limit = weight_gradient(case)
    with np.errstate(invalid="ignore"):
        exact = case.format.rounded(start - grad / 2)
    loose = limit / 2 + 2 * case.format.unit_roundoff * (np.abs(start) + np.abs(grad) + limit)
    return exact, np.where(limit > 0, loose, 0.0)


def of_one_row(case: ConversionCase) -> tuple[Expected, Expected, Expected]:
    """X w, w the first row of the weight; and the gradients of w and of X."""
    row, sent = case.lookup.weight_values[:, :1], case.upstream_values[:, :1]
    x, fmt = case.input_values, case.format
    return (
        shaped(product(x, row, fmt), case.shape),
        shaped(product(sent.T, x, fmt), (case.num_embeddings,)),
        shaped(product(sent, row.T, fmt), (*case.shape, case.num_embeddings)),
    )


def how_made(case: ConversionCase, converted: Floats) -> str:
    """What wrong elements of a converted weight may have been made by, in words; empty if nothing tells."""
    source = case.format.decode(case.weight_stored)
    if converted.shape != source.T.shape:
        return ""
    if np.array_equal(converted, source.reshape(converted.shape)):
        return "its elements are those of a reshape, not of a transpose"
    rows = np.flatnonzero((converted != source.T).any(axis=0))
    if not case.to_linear or len(rows) != 1 or converted[:, rows[0]].any():
        return ""
    whose = ", the padding row," if rows[0] == case.lookup.padding_row else ""
    return f"row {rows[0]} of the table{whose} came out as zeros"
