"""The yardstick: constructs, runs and compares the same things as embcheck in a plain loop, without any framework.

A `Spec` is one of embcheck's cases as a record of plain numbers, prepared before the clock starts.  The loop draws
tables, indices and upstream gradients of the same kind with numpy's own generator, lays them out with the same strides,
runs the same torch code and makes the laws' comparisons with fancy indexing and `numpy.add.at`.  It has no case that
prints or reduces, no poison, no words for a difference and no tally.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from embcheck.core.case import LookupCase
from embcheck.core.format import Format, special_patterns
from embcheck.core.law import FAMILIES
from embcheck.core.layout import view_of
from embcheck.core.pattern import STRAYS
from embcheck.families.lookup.prior_calls import PASTS
from embcheck.families.lookup.programs import ROUTES, backward, forward
from embcheck.families.lookup.spelling import ENTRIES, flags_of

Array = npt.NDArray[Any]
Strides = tuple[int, ...] | None
_INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16}


class Spec(NamedTuple):
    """What the loop needs to know of a case, beside its axes."""

    family: str
    case: LookupCase
    rows: int
    width: int
    numel: int
    padding: int | None
    out_of_range: int | None
    fmt: Format
    dtype: torch.dtype
    index_dtype: torch.dtype
    strides: tuple[Strides, ...]
    specials: Array
    run: Callable[..., dict[str, Any]]
    refused: bool


def spec(family: str, case: LookupCase) -> Spec:
    """The record of a case that calls `torch.nn.functional.embedding` once; made before the clock starts."""
    entry = ENTRIES[case.entry]
    plan = partial(backward, route=ROUTES[case.route])
    if family == "lookup":
        plan = partial(forward, requires_grad=case.requires_grad)
    shapes = (case.num_embeddings, case.embedding_dim), case.shape, (*case.shape, case.embedding_dim)
    layouts = case.layout, case.index_input.layout, case.upstream_input.layout
    return Spec(
        family=family,
        case=LookupCase(*case),  # a copy, since a case keeps what it expanded to
        rows=case.num_embeddings,
        width=case.embedding_dim,
        numel=case.numel,
        padding=case.padding_row,
        out_of_range=None if case.out_of_range is None else STRAYS[case.out_of_range](case.num_embeddings),
        fmt=case.format,
        dtype=getattr(torch, case.dtype),
        index_dtype=getattr(torch, case.index_dtype),
        strides=tuple(
            None if layout in ("contiguous", "offset") else view_of(shape, layout).strides
            for shape, layout in zip(shapes, layouts, strict=True)
        ),
        specials=case.format.from_bits(special_patterns(case.format)),
        run=partial(plan, build=entry.build, history=PASTS[case.history], flags=flags_of(case, entry)),
        refused=FAMILIES[family].refused(case),
    )


# -- construction ------------------------------------------------------------------------------------------------


def tokens_of(s: Spec, rng: np.random.Generator) -> Array:
    """Indices of the case's pattern, shape ``(numel,)``."""
    rows = max(s.rows, 1)
    if isinstance(s.case.indices, tuple):
        tokens = np.array(s.case.indices, np.int64)
    elif s.case.indices in ("cycle", "pairs"):
        tokens = np.arange(s.numel) % rows
    elif s.case.indices in ("same", "unequal"):
        tokens = np.full(s.numel, s.case.seed % rows)
    elif s.case.indices == "padding":
        tokens = np.full(s.numel, rows - 1 if s.padding is None else s.padding)
    else:
        tokens = rng.integers(0, rows, s.numel)
        if s.case.indices in ("ascending", "descending"):
            tokens.sort()
    if s.out_of_range is not None and s.numel:
        tokens[s.case.seed % s.numel] = s.out_of_range
    return tokens


def table_of(s: Spec, rng: np.random.Generator) -> Array:
    """A table as float64, or the bits of special values."""
    size = s.rows * s.width
    if s.case.values == "special":
        return np.resize(s.specials, size).reshape(s.rows, s.width)
    if s.case.values == "real":
        return rng.uniform(-16, 16, (s.rows, s.width))
    most = 3 if s.case.values == "small" else s.fmt.largest_integer
    if s.case.values == "small" or size > most:
        return rng.integers(-most, most, (s.rows, s.width), endpoint=True).astype(np.float64)
    table = np.arange(1, size + 1, dtype=np.float64)
    table[1::2] *= -1
    return table.reshape(s.rows, s.width)


def upstream_of(s: Spec, tokens: Array, rng: np.random.Generator) -> Array:
    """An upstream gradient whose sums are exact, unless it is real; float64, shape ``(numel, width)``."""
    if s.refused or s.case.upstream == "ones":
        return np.ones((s.numel, s.width))
    if s.case.upstream == "real":
        return rng.uniform(-16, 16, (s.numel, s.width))
    budget = s.fmt.largest_integer >> 2
    most = int(np.bincount(tokens).max()) if s.numel else 1
    values = rng.integers(1, 1 + min(max(1, budget // most), 1000), (s.numel, s.width)).astype(np.float64)
    if most > budget:
        values[budget:] = 0
    if s.case.upstream == "special" and values.size:
        values.flat[s.case.seed % values.size] = (np.nan, np.inf, -np.inf)[s.case.seed % 3]
    return values


def tensor(array: Array, dtype: torch.dtype, strides: Strides) -> torch.Tensor:
    """A tensor of an array's elements; ``strides`` None says contiguous."""
    whole = torch.from_numpy(array)
    if whole.dtype != dtype:
        whole = whole.view(dtype) if whole.dtype == torch.int16 else whole.to(dtype)
    if strides is None:
        return whole
    made, first = torch.empty_strided(array.shape, strides, dtype=dtype), _first(strides)
    made[first].copy_(whole[first])
    return made


def alike(array: Array, strides: Strides) -> Array:
    """An array whose elements are equal along the axes of stride 0."""
    return array if strides is None else np.broadcast_to(array[_first(strides)], array.shape)


def _first(strides: Iterable[int]) -> tuple[slice, ...]:
    return tuple(slice(None) if stride else slice(0, 1) for stride in strides)


def bits(value: torch.Tensor) -> Array:
    """A tensor's elements as integers; a view where torch has one."""
    return value.detach().view(_INTEGERS[value.element_size()]).numpy()


# -- the loop ----------------------------------------------------------------------------------------------------


def loop(specs: Iterable[Spec], seed: int = 0) -> int:
    """Constructs, runs and compares each; returns how many did not come out as expected."""
    rng = np.random.default_rng(seed)
    wrong = 0
    for s in specs:
        tokens = tokens_of(s, rng)
        indices = tensor(tokens.reshape(s.case.shape), s.index_dtype, s.strides[1])
        weight = tensor(table_of(s, rng), s.dtype, s.strides[0])
        inputs = {"weight": weight, "indices": indices}
        upstream = None
        if s.family != "lookup":
            sent = upstream_of(s, tokens, rng).reshape(*s.case.shape, s.width)
            upstream = np.ascontiguousarray(alike(sent, s.strides[2]))
            inputs["upstream"] = tensor(upstream, s.dtype, s.strides[2])
        before = [bits(given).copy() for given in inputs.values()]
        if s.case.requires_grad:
            weight.requires_grad_()
        try:
            seen = s.run(**inputs)
        except Exception:
            fine = s.refused
        else:
            fine = not s.refused and compared(s, seen, before[0], tokens, upstream)
        after = (bits(given) for given in inputs.values())
        wrong += not (fine and all((a == b).all() for a, b in zip(after, before, strict=True)))
    return wrong


def compared(s: Spec, seen: dict[str, Any], table: Array, tokens: Array, upstream: Array | None) -> bool:
    """What the laws of a family compare."""
    if not np.array_equal(bits(seen["value"]).reshape(s.numel, s.width), table[tokens]):
        return False
    if upstream is None:
        return compare_lookup(s, seen)
    return compare_gradient(s, seen, tokens, upstream.reshape(s.numel, s.width))


def compare_lookup(s: Spec, seen: dict[str, Any]) -> bool:
    value, leaf = seen["value"], seen["leaf"]
    return bool(
        tuple(value.shape) == (*s.case.shape, s.width)
        and value.dtype == s.dtype
        and value.is_contiguous()
        and value.device == leaf.device
        and value.layout == torch.strided
        and value.requires_grad == s.case.requires_grad
        and value.is_leaf != s.case.requires_grad
        and seen["versions"]
        and seen["separate"]
    )


def scattered(tokens: Array, rows: int, sent: Array) -> Array:
    """The sum of what was sent to each row: by `numpy.add.at`, or by sorting where that is faster."""
    sums = np.zeros((rows, sent.shape[1]))
    if rows * len(tokens) <= 4096:
        np.add.at(sums, tokens, sent)
        return sums
    order = np.argsort(tokens, kind="stable")
    ordered = tokens[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sums[ordered[starts]] = np.add.reduceat(sent[order], starts, axis=0)
    return sums


def compare_gradient(s: Spec, seen: dict[str, Any], tokens: Array, upstream: Array) -> bool:
    counts = np.bincount(tokens, minlength=s.rows)[:, None]
    kept = tokens != s.padding if s.padding is not None else slice(None)
    expected, grad = scattered(tokens[kept], s.rows, upstream[kept]), seen["weight_grad"]
    if s.case.scale_grad_by_freq:
        expected /= np.maximum(counts, 1)
    actual = (grad.to_dense() if grad.is_sparse else grad).detach().to(torch.float64).numpy()
    if not (actual == expected).all():
        magnitude = scattered(tokens[kept], s.rows, np.abs(upstream[kept]))
        limit = 2 * (counts + 2) * s.fmt.unit_roundoff * magnitude + s.fmt.smallest_subnormal
        with np.errstate(invalid="ignore"):
            close = (np.abs(actual - expected) <= limit) | (actual == expected) | np.isnan(expected)
        if not close.all():
            return False
    if s.family == "padding":
        exactly = not s.case.sparse or not s.width or grad._nnz() == int((tokens != s.padding).sum())
        return not actual[s.padding].any() and exactly
    return bool(
        not actual[counts[:, 0] == 0].any()
        and tuple(grad.shape) == (s.rows, s.width)
        and grad.dtype == s.dtype
        and grad.device == seen["leaf"].device
        and grad.is_sparse == s.case.sparse
        and not grad.requires_grad
    )
