"""Histories: what happened before the call that is judged, most often an earlier call on the same table.

The later ones differ from the judged call in a single way: what an implementation keeps between calls (a plan, a
workspace, a cached output) is keyed on something, and each history changes one thing that such a key may lack.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.core.case import LookupCase
from embcheck.core.registry import by_name, named
from embcheck.families.lookup.programs import Call, History, Tensor
from embcheck.families.lookup.spelling import spelled

# -- what came before, for a lookup and for a bag: whose offsets and per_sample_weights are the rest ----------------------


def repeated(leaf: Tensor, call: Call, *given: Any) -> None:
    call(*given)


def weight_changed(leaf: Tensor, call: Call, *given: Any) -> None:
    with torch.no_grad():
        kept = leaf.clone()
        leaf.zero_()
        call(*given)
        leaf.copy_(kept)


def indices_changed(leaf: Tensor, call: Call, indices: Tensor, *rest: Any) -> None:
    kept = indices.clone()
    indices.zero_()
    call(indices, *rest)
    indices.copy_(kept)


def other_shape(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices.reshape(-1)[:1])
    call(torch.zeros(2, 3, dtype=indices.dtype))


def other_table(leaf: Tensor, call: Call, indices: Tensor) -> None:
    other = torch.nn.Embedding(leaf.shape[0] + 1, leaf.shape[1] + 2, dtype=leaf.dtype)
    other(indices).sum().backward() if torch.is_grad_enabled() else other(indices)


def after_backward(leaf: Tensor, call: Call, *given: Any) -> None:
    with torch.enable_grad():
        value = call(*given)
        if value.requires_grad:
            value.sum().backward()


def after_error(leaf: Tensor, call: Call, indices: Tensor, *rest: Any) -> None:
    try:
        call(torch.full((1, 2), leaf.shape[0], dtype=indices.dtype))
    except (IndexError, RuntimeError, ValueError, AssertionError):
        pass


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


def bag_before(leaf: Tensor, call: Call, indices: Tensor) -> None:
    starts = torch.zeros(1, dtype=indices.dtype)
    learn(leaf, torch.nn.functional.embedding_bag(indices.reshape(-1), leaf, starts, mode="sum"))


def data_exchanged(leaf: Tensor, call: Call, *given: Any) -> None:
    # Neither is another memory: it keeps the identity of the table, too.
    own = leaf.data
    leaf.data = torch.zeros_like(own)
    call(*given)
    leaf.data = own


def indices_refilled(leaf: Tensor, call: Call, indices: Tensor, *rest: Any) -> None:
    # The same tensor of tokens with others in it: what was counted or sorted for a gradient no longer fits.
    if 0 in indices.stride() or not indices.numel():
        return
    kept = indices.clone()
    indices.copy_(kept.reshape(-1)[0].expand(kept.shape))
    learn(leaf, call(indices, *rest))
    indices.copy_(kept)


def unchanged(tensor: Tensor) -> Callable[[], bool]:
    """Tells whether a tensor is still what it is now."""
    copy = tensor.detach().clone()
    return lambda: torch.equal(tensor.nan_to_num(), copy.nan_to_num())


def table_alike(leaf: Tensor, call: Call, indices: Tensor) -> Callable[[], bool]:
    # What holds the other table keeps its identity and its memory apart from this one's.
    other = (leaf.detach() + 1).requires_grad_(leaf.requires_grad)
    flagged(other, indices)
    return unchanged(other)


def longer_between(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices)
    learn(leaf, call(torch.cat([indices.reshape(-1), indices.reshape(-1), indices.reshape(-1)[:1]])))


def third_alike(leaf: Tensor, call: Call, indices: Tensor) -> None:
    for ahead in (1, 2):
        learn(leaf, call((indices + ahead) % leaf.shape[0]))


def gradient_held(leaf: Tensor, call: Call, indices: Tensor) -> Callable[[], bool] | None:
    value = call((indices + 1) % leaf.shape[0])
    if not leaf.requires_grad or not value.requires_grad or not value.numel():
        return None
    (first,) = torch.autograd.grad(value.sum(), leaf)
    copy = first.to_dense().clone()
    return lambda: torch.equal(first.to_dense(), copy)


def called(leaf: Tensor, call: Call, times: int, indices: Tensor, *rest: Any, twice_as_long: bool = False) -> None:
    """So many calls with other tokens, and their backward passes; the table is then as it was, whatever max_norm made of it."""
    kept = leaf.detach().clone()
    if twice_as_long and indices.dim():  # and so are the weights of a bag's samples, which stand behind its offsets
        indices = torch.cat([indices, indices])
        rest = (*rest[:1], *(each if each is None else torch.cat([each, each]) for each in rest[1:]))
    for ahead in range(times, 0, -1):
        learn(leaf, call((indices + ahead) % leaf.shape[0], *rest))
    with torch.no_grad():
        leaf.copy_(kept)


HISTORIES: dict[str, History] = named({"fresh": lambda leaf, call, *given: None}) | by_name(
    repeated, weight_changed, indices_changed, other_shape, other_table, after_backward, after_error, output_overwritten
)
LATER: dict[str, History] = named(
    {
        "other_index_dtype": lambda leaf, call, indices: learn(
            leaf, call(indices.to(torch.int32 if indices.dtype == torch.int64 else torch.int64))
        ),
        "wider_table": lambda leaf, call, indices: flagged(
            leaf.detach().double().requires_grad_(leaf.requires_grad), indices
        ),
        "padding_before": lambda leaf, call, indices: flagged(
            leaf, indices, padding_idx=int(indices.reshape(-1)[0]) if indices.numel() else 0
        ),
        "scaled_before": lambda leaf, call, indices: flagged(leaf, indices, scale_grad_by_freq=True),
        **by_name(bag_before, data_exchanged, indices_refilled, table_alike, longer_between, third_alike),
        "output_held": lambda leaf, call, indices, *rest: unchanged(
            call((indices + 1) % leaf.shape[0], *rest).detach()
        ),
        "gradient_held": gradient_held,
    }
)
#: So many earlier calls, each with its backward pass: what is aimed takes these.
COUNTED: dict[str, History] = named(
    {
        "once_alike": lambda leaf, call, *given: called(leaf, call, 1, *given),
        "twice_alike": lambda leaf, call, *given: called(leaf, call, 2, *given),
        "thrice_alike": lambda leaf, call, *given: called(leaf, call, 3, *given),
        "once_longer": lambda leaf, call, *given: called(leaf, call, 1, *given, twice_as_long=True),
        "twice_longer": lambda leaf, call, *given: called(leaf, call, 2, *given, twice_as_long=True),
        "thrice_longer": lambda leaf, call, *given: called(leaf, call, 3, *given, twice_as_long=True),
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
    entries, dtypes = spelled(), ("float32", "float64", "float16", "bfloat16")
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
