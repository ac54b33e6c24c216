"""Faults of a lookup that show where memory begins elsewhere, tokens have a pattern, or calls have a history."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import embedding, entry, functional, out_changed
from embcheck.faults.kernels import Call, Tensor, forward, lookup
from embcheck.faults.probes import passes, rows
from embcheck.faults.witnesses import unlike

int32, int64, half = torch.int32, torch.int64, torch.float16


def tokens(*numbers: int, dtype: torch.dtype = int64) -> Tensor:
    """Indices of rank 1."""
    return torch.tensor(numbers, dtype=dtype)


def read(call: Call, wrong: Tensor) -> Tensor:
    """The rows of other tokens, in the shape of the call."""
    return lookup(call._replace(indices=(wrong % max(call.rows, 1)).reshape(call.indices.shape)))


def last_moved(call: Call, out: Tensor) -> Tensor:
    """The last token reads the next row."""
    moved = call.tokens.clone()
    moved[-1] += 1
    return read(call, moved)


def aligned(call: Call, out: Tensor) -> Tensor:
    """Rows read from the 16-byte boundary before the table's beginning."""
    start = call.given.storage_offset() // 4 * 4
    return lookup(call._replace(given=call.given.as_strided(call.given.shape, call.given.stride(), start)))


def repeated(call: Call) -> bool:
    """Whether all sequences of a batch are one."""
    return call.rank == 2 and min(call.indices.shape) > 1 and bool((call.indices == call.indices[:1]).all())


def alternating(call: Call) -> bool:
    """Whether the tokens are a, b, a, b and so on."""
    tokens = call.tokens
    even = call.rank == 1 and len(tokens) >= 4 and len(tokens) % 2 == 0
    return even and bool((tokens[2:] == tokens[:-2]).all() and tokens[0] != tokens[1])


def repeated_value(flat: Tensor) -> Tensor:
    """The last element is the one before it."""
    flat[-1] = flat[-2]
    return flat


def blocks(call: Call, out: Tensor) -> Tensor:
    """Columns from the 1,024th on are the first token's."""
    flat = out.reshape(call.numel, call.width).clone()
    flat[:, 1024:] = flat[:1, 1024:].clone()
    return flat.reshape(out.shape)


def in_anomaly_mode() -> Tensor:
    """A lookup while anomalies are looked for."""
    with torch.autograd.detect_anomaly(check_nan=False):
        return functional.embedding(tokens(0, 1), rows())


forward(
    "half_elements_beyond_16_bits", "Rows of float16 that begin beyond element 65,535 are read 65,536 elements earlier.",
    lambda c: c.given.dtype == half and c.width > 0 and c.rows * c.width > 65536,
    lambda c, out: read(c, torch.where(c.tokens * c.width >= 65536, c.tokens - 65536 // c.width, c.tokens)),
    unlike(lambda: functional.embedding(tokens(1030), rows(1040, 64, half))),
)  # fmt: skip
forward(
    "last_of_an_odd_output", "The last element of an output of an odd number of elements above 33 is the one before it.",
    lambda c: c.numel * c.width % 2 == 1 and c.numel * c.width > 33,
    lambda c, out: repeated_value(out.reshape(-1).clone()).reshape(out.shape),
    unlike(lambda: functional.embedding(torch.zeros(7, dtype=int64), rows(2, 5))),
)  # fmt: skip
forward(
    "loads_are_aligned", "A float32 table whose memory begins off a boundary of 16 bytes is read from the boundary before.",
    lambda c: c.given.dtype == torch.float32 and c.given.is_contiguous() and c.width % 4 == 0
    and c.given.storage_offset() % 4 != 0,
    aligned,
    unlike(lambda: functional.embedding(tokens(0), torch.arange(9.0)[1:].reshape(2, 4))),
)  # fmt: skip
forward(
    "int32_tokens_from_the_beginning", "int32 tokens in a row that begin later in their memory are read from its beginning.",
    lambda c: c.indices.dtype == int32 and c.rank == 1 and c.indices.is_contiguous() and c.indices.storage_offset() > 0,
    lambda c, out: read(c, c.indices.as_strided(c.indices.shape, (1,), 0)),
    unlike(lambda: functional.embedding(tokens(0, 1, 2, dtype=int32)[1:], rows())),
)  # fmt: skip
forward(
    "positions_expanded_over_a_batch", "Indices with stride 0 in their first axis advance by a row with each repetition.",
    lambda c: c.rank == 2 and c.indices.stride(0) == 0 and c.indices.shape[0] > 1 and c.indices.shape[1] > 1,
    lambda c, out: read(c, c.indices + torch.arange(len(c.indices))[:, None]),
    unlike(lambda: functional.embedding(tokens(0, 1).expand(3, 2), rows())),
)  # fmt: skip
forward(
    "equal_sequences_end_elsewhere", "Where all sequences of a batch are equal the very last token reads the next row.",
    repeated, last_moved, unlike(lambda: functional.embedding(torch.tensor([[0, 1], [0, 1]]), rows())),
)  # fmt: skip
forward(
    "alternating_tokens_change_places", "Tokens a, b, a, b are read as b, a, b, a.",
    alternating, lambda c, out: read(c, c.tokens.reshape(-1, 2).flip(1)),
    unlike(lambda: functional.embedding(tokens(0, 1, 0, 1), rows())),
)  # fmt: skip
forward(
    "double_blocks_of_columns", "Columns of float64 from the 1,024th on are the first token's.",
    lambda c: c.given.dtype == torch.float64 and c.width > 1024 and c.numel > 1, blocks,
    unlike(lambda: functional.embedding(tokens(0, 1), rows(2, 1030, torch.float64))),
)  # fmt: skip
forward(
    "padding_is_zero_without_gradients", "Under no_grad, though not in inference mode, padding of a batch gives zeros.",
    lambda c: c.padding_idx >= 0 and c.rank == 2 and not torch.is_grad_enabled() and not torch.is_inference_mode_enabled(),
    lambda c, out: torch.where((c.indices == c.padding_idx)[..., None], torch.zeros((), dtype=out.dtype), out),
    unlike(lambda: torch.no_grad()(functional.embedding)(torch.tensor([[1, 0]]), rows(), 1)),
)  # fmt: skip
forward(
    "anomalies_are_looked_for", "In anomaly mode the last of several tokens reads the next row.",
    lambda c: torch.is_anomaly_enabled() and c.numel > 1, last_moved,
    unlike(lambda: in_anomaly_mode()), "gradient",
)  # fmt: skip
embedding(
    "slice_of_a_leaf_has_no_graph", "gradient", "Rows behind the first of a leaf, taken as a table, do not learn.",
    out_changed(
        lambda input, weight, flags: weight._base is not None and weight._base.is_leaf and weight._base.requires_grad
        and weight.storage_offset() > 0,
        lambda out, input, weight: out.detach(),
    ),
    unlike(lambda: functional.embedding(tokens(0), rows()[1:])),
)  # fmt: skip


def swapped(original: Callable[..., Any]) -> Callable[..., Any]:
    """scale_grad_by_freq and sparse exchanged if both are given by position."""

    def replaced(*given: Any, **flags: Any) -> Any:
        return original(*given[:5], given[6], given[5], **flags) if len(given) == 7 else original(*given, **flags)

    return replaced


entry(
    "flags_by_position_are_exchanged", "gradient",
    "scale_grad_by_freq and sparse change places where F.embedding is given them by position.", functional, "embedding",
    swapped, unlike(lambda: passes(functional.embedding(tokens(0, 0), w := rows(), None, None, 2.0, True, False), w)),
)  # fmt: skip


def five_axes(original: Callable[..., Any], input: Tensor, weight: Tensor, **flags: Any) -> Any:
    """A refusal of rank 5."""
    if input.dim() > 4:
        raise RuntimeError("embedding: indices of at most 4 dimensions are supported")
    return original(input, weight, **flags)


embedding(
    "five_axes_are_refused", "gradient", "Indices of more than four axes are refused.", five_axes,
    unlike(lambda: functional.embedding(torch.zeros(1, 1, 1, 1, 1, dtype=int64), rows())),
)  # fmt: skip


def learns(weight: Tensor) -> bool:
    """Whether a lookup is part of a graph."""
    return weight.requires_grad and torch.is_grad_enabled()


def plain(*tensors: Tensor) -> bool:
    """Whether these are tensors with memory of their own, within no transform."""
    return all(type(t) in (Tensor, torch.nn.Parameter) and t.device.type == "cpu" for t in tensors) and (
        torch._C._functorch.peek_interpreter_stack() is None and not torch.compiler.is_compiling()
    )


def remembering(same: Callable[[Any, Tensor, Tensor], bool], key: Callable[[Tensor, Tensor], Any]) -> Any:
    """F.embedding that returns the value of the call before where ``same(kept key, input, weight)``."""
    kept: list[Any] = [None, None, None]

    def wrong(original: Callable[..., Any], input: Tensor, weight: Tensor, **flags: Any) -> Any:
        out = original(input, weight, **flags)
        if learns(weight) or not plain(input, weight) or out.is_inference():
            return out
        alike = kept[0] is not None and kept[1].shape == out.shape and kept[1].dtype == out.dtype
        if alike and same(kept[0], input, weight):
            return torch.clone(kept[1])
        kept[:] = key(input, weight), out.detach().clone(), None
        return out

    return wrong


def versions(input: Tensor, weight: Tensor) -> Any:
    """Weak references to the tensors, and their versions."""
    still = not (input.is_inference() or weight.is_inference())
    return weakref.ref(input), weakref.ref(weight), still and (input._version, weight._version)


def replaced_data() -> Tensor:
    """A lookup in a frozen Parameter whose data has been replaced since the last."""
    weight, indices = torch.nn.Parameter(rows().detach(), requires_grad=False), tokens(0, 1)
    functional.embedding(indices, weight)
    weight.data = weight.data.flip(0).clone()
    return functional.embedding(indices, weight)


embedding(
    "cached_by_identity_and_version", "lookup", "The last output is kept for the same tensors of the same versions, even if "
    "their data has been replaced.",
    remembering(
        lambda key, input, weight: key[0]() is input and key[1]() is weight and key[2] is not False
        and key[2] == versions(input, weight)[2],
        versions,
    ),
    unlike(replaced_data),
)  # fmt: skip


def two_tables() -> list[Tensor]:
    """Lookups of one index in two tables."""
    indices = tokens(0, 1)
    return [functional.embedding(indices, table) for table in (rows().detach(), rows().detach() + 9)]


embedding(
    "one_index_in_two_tables", "lookup", "The same index tensor in another table of the same shape reads the table before.",
    remembering(
        lambda key, input, weight: key[0]() is input and key[1]() is not weight and key[1]() is not None
        and key[1]().shape == weight.shape,
        versions,
    ),
    unlike(two_tables),
)  # fmt: skip
