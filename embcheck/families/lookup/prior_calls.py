"""Histories: what happened before the call that is judged, most often an earlier call on the same table.

The later ones differ from the judged call in a single way: what an implementation keeps between calls (a plan, a
workspace, a cached output) is keyed on something, and each history changes one thing that such a key may lack.  They
import nothing but torch, as the programs do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.core.case import LookupCase
from embcheck.core.registry import into, named
from embcheck.families.lookup.programs import Call, History, Tensor
from embcheck.families.lookup.spelling import ENTRIES

HISTORIES: dict[str, History] = {}
LATER: dict[str, History] = {}
_history = into(HISTORIES)
_later = into(LATER)


@_history
def fresh(leaf: Tensor, call: Call, indices: Tensor) -> None:
    pass


@_history
def repeated(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices)


@_history
def weight_changed(leaf: Tensor, call: Call, indices: Tensor) -> None:
    with torch.no_grad():
        kept = leaf.clone()
        leaf.zero_()
        call(indices)
        leaf.copy_(kept)


@_history
def indices_changed(leaf: Tensor, call: Call, indices: Tensor) -> None:
    kept = indices.clone()
    indices.zero_()
    call(indices)
    indices.copy_(kept)


@_history
def other_shape(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices.reshape(-1)[:1])
    call(torch.zeros(2, 3, dtype=indices.dtype))


@_history
def other_table(leaf: Tensor, call: Call, indices: Tensor) -> None:
    other = torch.nn.Embedding(leaf.shape[0] + 1, leaf.shape[1] + 2, dtype=leaf.dtype)
    other(indices).sum().backward() if torch.is_grad_enabled() else other(indices)


@_history
def after_backward(leaf: Tensor, call: Call, indices: Tensor) -> None:
    with torch.enable_grad():
        value = call(indices)
        if value.requires_grad:
            value.sum().backward()


@_history
def after_error(leaf: Tensor, call: Call, indices: Tensor) -> None:
    try:
        call(torch.full((2,), leaf.shape[0], dtype=indices.dtype))
    except (IndexError, RuntimeError, ValueError, AssertionError):
        pass


@_history
def output_overwritten(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices).detach().fill_(float("nan"))


# -- an earlier call that differs in a single way ---------------------------------------------------------------------


def learn(leaf: Tensor, value: Tensor) -> None:
    """A backward pass, where there is anything to learn; its gradient is dropped."""
    if value.requires_grad and value.numel():
        value.sum().backward()
        leaf.grad = None


def flagged(leaf: Tensor, indices: Tensor, **flags: Any) -> None:
    """A lookup of the same tokens with other flags, and its backward pass."""
    learn(leaf, torch.nn.functional.embedding(indices, leaf, **flags))


@_later
def other_index_dtype(leaf: Tensor, call: Call, indices: Tensor) -> None:
    learn(leaf, call(indices.to(torch.int32 if indices.dtype == torch.int64 else torch.int64)))


@_later
def wider_table(leaf: Tensor, call: Call, indices: Tensor) -> None:
    flagged(leaf.detach().double().requires_grad_(leaf.requires_grad), indices)


@_later
def padding_before(leaf: Tensor, call: Call, indices: Tensor) -> None:
    flagged(leaf, indices, padding_idx=int(indices.reshape(-1)[0]) if indices.numel() else 0)


@_later
def scaled_before(leaf: Tensor, call: Call, indices: Tensor) -> None:
    flagged(leaf, indices, scale_grad_by_freq=True)


@_later
def bag_before(leaf: Tensor, call: Call, indices: Tensor) -> None:
    starts = torch.zeros(1, dtype=indices.dtype)
    learn(leaf, torch.nn.functional.embedding_bag(indices.reshape(-1), leaf, starts, mode="sum"))


@_later
def data_exchanged(leaf: Tensor, call: Call, indices: Tensor) -> None:
    # Neither is another memory: it keeps the identity of the table, too.
    own = leaf.data
    leaf.data = torch.zeros_like(own)
    call(indices)
    leaf.data = own


@_later
def indices_refilled(leaf: Tensor, call: Call, indices: Tensor) -> None:
    # The same tensor of tokens with others in it: what was counted or sorted for a gradient no longer fits.
    if 0 in indices.stride() or not indices.numel():
        return
    kept = indices.clone()
    indices.copy_(kept.reshape(-1)[0].expand(kept.shape))
    learn(leaf, call(indices))
    indices.copy_(kept)


@_later
def table_alike(leaf: Tensor, call: Call, indices: Tensor) -> Callable[[], bool]:
    # What holds the other table keeps its identity and its memory apart from this one's.
    other = (leaf.detach() + 1).requires_grad_(leaf.requires_grad)
    flagged(other, indices)
    copy = other.detach().clone()
    return lambda: torch.equal(other.nan_to_num(), copy.nan_to_num())


@_later
def longer_between(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices)
    learn(leaf, call(torch.cat([indices.reshape(-1), indices.reshape(-1), indices.reshape(-1)[:1]])))


@_later
def third_alike(leaf: Tensor, call: Call, indices: Tensor) -> None:
    for ahead in (1, 2):
        learn(leaf, call((indices + ahead) % leaf.shape[0]))


@_later
def output_held(leaf: Tensor, call: Call, indices: Tensor) -> Callable[[], bool]:
    first = call((indices + 1) % leaf.shape[0]).detach()
    copy = first.clone()
    return lambda: torch.equal(first.nan_to_num(), copy.nan_to_num())


@_later
def gradient_held(leaf: Tensor, call: Call, indices: Tensor) -> Callable[[], bool] | None:
    value = call((indices + 1) % leaf.shape[0])
    if not leaf.requires_grad or not value.requires_grad or not value.numel():
        return None
    (first,) = torch.autograd.grad(value.sum(), leaf)
    copy = first.to_dense().clone()
    return lambda: torch.equal(first.to_dense(), copy)


# -- so many earlier calls, each with its backward pass ----------------------------------------------------------------


def called(leaf: Tensor, call: Call, indices: Tensor, times: int, *, twice_as_long: bool = False) -> None:
    """So many calls with other tokens, and their backward passes; the table is then as it was, whatever max_norm made of it."""
    kept = leaf.detach().clone()
    given = torch.cat([indices, indices]) if twice_as_long and indices.dim() else indices
    for ahead in range(times, 0, -1):
        learn(leaf, call((given + ahead) % leaf.shape[0]))
    with torch.no_grad():
        leaf.copy_(kept)


#: What is aimed takes these.
COUNTED: dict[str, History] = named(
    {
        "once_alike": lambda leaf, call, indices: called(leaf, call, indices, 1),
        "twice_alike": lambda leaf, call, indices: called(leaf, call, indices, 2),
        "thrice_alike": lambda leaf, call, indices: called(leaf, call, indices, 3),
        "once_longer": lambda leaf, call, indices: called(leaf, call, indices, 1, twice_as_long=True),
        "twice_longer": lambda leaf, call, indices: called(leaf, call, indices, 2, twice_as_long=True),
        "thrice_longer": lambda leaf, call, indices: called(leaf, call, indices, 3, twice_as_long=True),
    }
)
#: Histories in which the judged call's own flags meet a backward pass.
LEARNING = frozenset(
    {
        *("after_backward", "other_index_dtype", "longer_between", "third_alike", "gradient_held", "indices_refilled"),
        *COUNTED,
    }
)
#: All histories of a lookup.
PASTS: dict[str, History] = HISTORIES | LATER | COUNTED


def past_cases() -> Iterator[LookupCase]:
    """Every later history with every rank; tables, entries, dtypes and patterns in turn."""
    # A workspace may be kept for what is not small.
    tables = ((5, 2), (17, 9), (33, 8))
    shapes = ((4,), (2, 3), (), (1,), (2, 2, 2), (0,), (9,))
    entries, dtypes = tuple(ENTRIES), ("float32", "float64", "float16", "bfloat16")
    patterns = ("uniform", "unequal", "descending", "same")
    for place, history in enumerate(LATER):
        for turn in range(3 * len(shapes)):
            seed = place * 3 * len(shapes) + turn
            # The plain function most often, for that is where keys are shared; then a layer in use, which may keep its table.
            entry = ("functional", "module_eval", entries[seed % len(entries)])[turn % 3]
            yield LookupCase(
                *tables[turn // 3 % 3], patterns[(turn + place) % 4], shapes[turn % len(shapes)], (None, None, 0, -1)[seed % 4],
                entry=entry, dtype=dtypes[seed % 3 if turn % 3 else 0], index_dtype=("int64", "int32")[turn % 2],
                history=history, requires_grad=bool(seed % 4), seed=seed,
            )  # fmt: skip
