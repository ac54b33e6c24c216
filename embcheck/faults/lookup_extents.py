"""Faults of lookups that show beyond some extent, in two modes at once, or after the table or the tokens were written."""

from __future__ import annotations

import weakref
from typing import Any

import torch

from embcheck.faults.entry import Embedding, Wrong, embedding, entry, functional
from embcheck.faults.kernels import Call, Tensor, backward, dense_gradient


def gradient(rows: int, width: int, tokens: Tensor, **flags: Any) -> Tensor:
    """The gradient of the sum of a lookup in a table of ones."""
    weight = torch.ones(rows, width, requires_grad=True)
    (found,) = torch.autograd.grad(functional.embedding(tokens, weight, **flags).sum(), weight)
    return found


# -- the dense gradient ------------------------------------------------------------------------------------------

_KEPT: dict[tuple[int, ...], Tensor] = {}


def kept_memory(call: Call, out: Tensor) -> Tensor:
    return _KEPT.setdefault(tuple(out.shape), torch.empty_like(out)).copy_(out)


def kept_memory_shows() -> bool:
    first = gradient(16, 4, torch.tensor([1]))
    gradient(16, 4, torch.tensor([2]))
    return bool(first[2].any())


backward(
    "larger_gradients_share_memory",
    "float32 gradients of 64 elements or more lie in memory that the next one of their shape is written to.",
    lambda c: c.given.dtype == torch.float32 and c.rows * c.width >= 64,
    kept_memory,
    kept_memory_shows,
)
backward(
    "tokens_counted_by_16_bits",
    "Tokens behind position 32,767 give no gradient.",
    lambda c: c.numel > 32768 and not c.scale,
    lambda c, out: dense_gradient(c._replace(given=c.upstream[:32768], indices=c.tokens[:32768])),
    lambda: bool(gradient(1, 1, torch.zeros(32770, dtype=torch.int64))[0, 0] == 32768),
)


def counted_modulo(call: Call, out: Tensor) -> Tensor:
    counts = torch.bincount(call.tokens % 65536, minlength=65536)
    each = counts[torch.arange(call.rows) % 65536].clamp(min=1)
    return dense_gradient(call._replace(scale=False)) / each.to(out.dtype)[:, None]


backward(
    "frequencies_by_16_bits",
    "scale_grad_by_freq counts tokens that are 65,536 apart as one.",
    lambda c: c.rows > 65536 and c.scale,
    counted_modulo,
    lambda: bool(gradient(65538, 1, torch.tensor([1, 65537]), scale_grad_by_freq=True)[1, 0] == 0.5),
)

# -- modes -------------------------------------------------------------------------------------------------------


def narrow(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Tensor:
    out: Tensor = original(input, weight, **flags)
    used = torch.is_autocast_enabled("cpu") and not torch.is_grad_enabled() and input.dim() == 1
    return out.to(torch.get_autocast_dtype("cpu")) if used else out


def narrow_shows() -> bool:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return functional.embedding(torch.tensor([0]), torch.ones(1, 2)).dtype == torch.bfloat16


embedding(
    "autocast_narrows_without_gradients",
    "lookup",
    "Under autocast a lookup of rank 1 is narrowed where no gradient is asked for.",
    narrow,
    narrow_shows,
    ("autocast_bfloat16",),
)

_SNAPSHOTS: weakref.WeakKeyDictionary[Embedding, tuple[Any, Tensor]] = weakref.WeakKeyDictionary()


def snapshot(original: Wrong) -> Wrong:
    def forward(self: Embedding, input: Tensor) -> Any:
        table = self.weight
        if self.training or torch.is_grad_enabled() or self.max_norm is not None or table.is_inference():
            return original(self, input)
        key = (id(table), table.data_ptr(), table._version)
        if _SNAPSHOTS.get(self, (None,))[0] != key:
            _SNAPSHOTS[self] = key, table.detach().clone()
        return functional.embedding(input, _SNAPSHOTS[self][1], self.padding_idx)

    return forward


def snapshot_shows() -> bool:
    layer = Embedding(2, 2).eval()
    with torch.no_grad():
        layer(torch.tensor([0]))
        layer.weight.data.fill_(7)
        return not bool((layer(torch.tensor([0])) == 7).all())


entry(
    "evaluation_keeps_a_snapshot",
    "lookup",
    "In evaluation without gradients a layer keeps its table until the weight has another version.",
    Embedding,
    "forward",
    snapshot,
    snapshot_shows,
)

# -- renorm, one_hot ---------------------------------------------------------------------------------------------


def some_rows(original: Wrong) -> Wrong:
    def embedding_renorm_(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Any:
        if norm_type == 1 and indices.numel() > 512:
            rows = indices.unique()
            indices = rows[:512] if rows.numel() > 512 else indices
        return original(weight, indices, max_norm, norm_type)

    return embedding_renorm_


def some_rows_shows() -> bool:
    weight = torch.ones(600, 2)
    functional.embedding(torch.arange(600), weight, max_norm=1.0, norm_type=1.0)
    return bool(weight[599, 0] == 1)


entry(
    "one_norm_of_512_rows",
    "renorm",
    "With norm_type 1 only the first 512 of the rows that are looked up are rescaled.",
    torch,
    "embedding_renorm_",
    some_rows,
    some_rows_shows,
)

_SEEN: dict[str, Any] = {}


def classes_as_before(original: Wrong) -> Wrong:
    def one_hot(tensor: Tensor, num_classes: int = -1) -> Any:
        found = original(tensor, num_classes)
        if num_classes != -1 or type(tensor) is not Tensor:
            return found
        before = _SEEN.get("width", 0) if _SEEN.get("tensor", lambda: None)() is tensor else 0
        _SEEN.update(tensor=weakref.ref(tensor), width=found.shape[-1])
        return original(tensor, max(before, found.shape[-1]))

    return one_hot


def classes_as_before_shows() -> bool:
    tokens = torch.tensor([3])
    functional.one_hot(tokens)
    tokens.fill_(1)
    return functional.one_hot(tokens).shape[-1] == 4


entry(
    "one_hot_keeps_the_classes_of_a_tensor",
    "one_hot",
    "one_hot of a tensor that held larger tokens before has a class for them still.",
    functional,
    "one_hot",
    classes_as_before,
    classes_as_before_shows,
)
