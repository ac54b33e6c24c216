"""Faults of the forward kernel: indices outside the table, and what earlier calls leave behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from embcheck.fault import dispatched, fault
from embcheck.faults.kernels import Call, Tensor, forward, lookup
from embcheck.faults.lookup_sizes import int32, negated, shifted
from embcheck.faults.witnesses import accepted

forward_accepts = [
    ("minus_one_wraps", "Index −1 reads the last row.", lambda c: int(c.tokens.min()) == -1, [-1], None, torch.int64),
    (
        "one_too_many_is_clamped",
        "Index V reads the last row when there is more than one token.",
        lambda c: c.numel > 1 and int(c.tokens.max()) == c.rows,
        [0, 3],
        None,
        torch.int64,
    ),
    (
        "rank3_strays_are_clamped",
        "Any index outside the table is clamped at rank 3.",
        lambda c: c.rank == 3,
        [7],
        (1, 1, 1),
        torch.int64,
    ),
    (
        "far_int32_is_clamped",
        "int32 indices beyond twice the table are clamped.",
        lambda c: c.indices.dtype == int32 and int(c.tokens.max()) > 2 * c.rows,
        [9],
        None,
        int32,
    ),
    (
        "scalar_minus_v_wraps",
        "A 0-dimensional index −V reads row 0.",
        lambda c: c.rank == 0 and int(c.tokens.min()) == -c.rows,
        [-3],
        (),
        torch.int64,
    ),
]


def _accepting(when: Callable[[Call], bool]) -> Callable[[], Iterator[None]]:
    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        call = Call(weight, indices, weight.shape[0])
        if call.numel and call.rows and when(call):
            tokens = indices if int(indices.min()) >= 0 else indices % call.rows
            return lookup(call._replace(indices=tokens.clamp(0, call.rows - 1)))
        return lookup(call)

    def plant() -> Iterator[None]:
        with dispatched({"embedding": kernel}):
            yield

    return plant


for _name, _sentence, _when, _tokens, _shape, _dtype in forward_accepts:
    _plant = _accepting(_when)
    _plant.__name__, _plant.__doc__ = _name, _sentence
    fault("lookup", accepted(_tokens, 3, shape=_shape, index_dtype=_dtype))(_plant)


@contextmanager
def remembering(spoil: Callable[[list[Call], Call, Tensor], Tensor]) -> Iterator[None]:
    """A forward kernel that knows its earlier calls, the latest last; outputs are kept beside them."""
    calls: list[Call] = []

    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        call = Call(weight, indices, weight.shape[0], padding, scale, sparse)
        out = spoil(calls, call, lookup(call))
        calls.append(call)
        del calls[:-4]
        return out

    with dispatched({"embedding": kernel}):
        yield


def _stale(change: str) -> bool:
    weight, indices = torch.ones(3, 2), torch.tensor([0, 1])
    torch.nn.functional.embedding(indices, weight)
    if change == "weight":
        weight.mul_(2)
    elif change == "indices":
        weight[2] = 5
        indices.fill_(2)
    value = torch.nn.functional.embedding(indices, weight)
    return not torch.equal(value, torch.stack([weight[int(token)] for token in indices]))


@fault("lookup", lambda: _stale("weight"))
def stale_after_weight_changed() -> Iterator[None]:
    """The output of the same index tensor and table is kept, whatever became of the table since."""
    kept: list[tuple[Tensor, int, Tensor]] = []

    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        for tensor, address, out in kept:
            if tensor is indices and address == weight.data_ptr():
                return out.clone()
        out = lookup(Call(weight, indices, weight.shape[0]))
        kept[:] = [(indices, weight.data_ptr(), out.clone())]
        return out

    with dispatched({"embedding": kernel}):
        yield


@fault("lookup", lambda: _stale("indices"))
def stale_after_indices_changed() -> Iterator[None]:
    """The tokens of an index tensor are kept, whatever was written to it since."""
    kept: list[tuple[Tensor, Tensor]] = []

    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        for tensor, tokens in kept:
            if tensor is indices and tokens.shape == indices.shape:
                return lookup(Call(weight, tokens, weight.shape[0]))
        kept[:] = [(indices, indices.clone())]
        return lookup(Call(weight, indices, weight.shape[0]))

    with dispatched({"embedding": kernel}):
        yield


@fault("lookup", lambda: _after([0, 1, 1], [0, 1]))
def workspace_of_a_longer_call() -> Iterator[None]:
    """After a call with more tokens of the same table, the last row is negated."""

    def spoil(calls: list[Call], call: Call, out: Tensor) -> Tensor:
        longer = calls and calls[-1].given is call.given and calls[-1].numel > call.numel
        return negated(-1)(call, out) if longer and call.numel and call.width else out

    with remembering(spoil):
        yield


@fault("lookup", lambda: _after([0, 1], [0, 1]))
def second_call_alike() -> Iterator[None]:
    """A second call with the same table and indices reads the next rows."""

    def spoil(calls: list[Call], call: Call, out: Tensor) -> Tensor:
        again = calls and calls[-1].given is call.given and calls[-1].indices is call.indices and call.rows > 1
        return shifted(call, out) if again else out

    with remembering(spoil):
        yield


@fault("lookup", lambda: _after([], [0, 1]))
def call_after_an_empty_one() -> Iterator[None]:
    """The call after one without tokens gives zeros."""

    def spoil(calls: list[Call], call: Call, out: Tensor) -> Tensor:
        return out.zero_() if calls and calls[-1].numel == 0 else out

    with remembering(spoil):
        yield


def _after(first: list[int], second: list[int]) -> bool:
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    indices = torch.tensor(first, dtype=torch.int64)
    torch.nn.functional.embedding(indices, weight)
    again = indices if first == second else torch.tensor(second)
    value = torch.nn.functional.embedding(again, weight)
    return not torch.equal(value, torch.stack([weight[token] for token in second]))


@fault("lookup", lambda: _after_refusal())
def call_after_a_refused_one() -> Iterator[None]:
    """The call after a refused one reads the next rows."""
    failed = [False]

    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        call = Call(weight, indices, weight.shape[0])
        before, failed[0] = failed[0], True
        out = lookup(call)
        failed[0] = False
        return shifted(call, out) if before and call.rows > 1 else out

    with dispatched({"embedding": kernel}):
        yield


def _after_refusal() -> bool:
    weight = torch.tensor([[1.0], [2.0]])
    with suppress(IndexError):
        torch.nn.functional.embedding(torch.tensor([7]), weight)
    return float(torch.nn.functional.embedding(torch.tensor([0]), weight)) != 1.0


def _without_grad(context: Callable[[], torch.no_grad | torch.inference_mode]) -> bool:
    with context():
        value = torch.nn.functional.embedding(torch.tensor([[0]]), torch.tensor([[1.0], [2.0]]), sparse=True)
    return float(value) != 1.0


forward(
    "inference_mode_with_sparse",
    "In inference mode a sparse table's first token reads the next row.",
    lambda c: torch.is_inference_mode_enabled() and c.sparse and c.numel > 0 and c.rows > 1,
    shifted,
    lambda: _without_grad(torch.inference_mode),
)
forward(
    "no_grad_with_rank_2",
    "Without gradients, though not in inference mode, rank 2 reads the next rows.",
    lambda c: not torch.is_grad_enabled() and not torch.is_inference_mode_enabled() and c.rank == 2 and c.rows > 1,
    shifted,
    lambda: _without_grad(torch.no_grad),
)
