"""Faults of a table's gradient: patterns of the tokens, the memory of what comes from above, several passes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import fault
from embcheck.faults.entry import embedding, entry, functional
from embcheck.faults.kernels import (
    Call,
    Tensor,
    backward,
    backward_spoiled,
    dense_gradient,
    sparse_backward,
    sparse_gradient,
)
from embcheck.faults.probes import passes, rows
from embcheck.faults.witnesses import unlike

int32 = torch.int32


def learnt(
    *numbers: int, shape: tuple[int, ...] = (-1,), number: int = 4, width: int = 2, dtype: torch.dtype = torch.int64,
    upstream: Callable[[Tensor], Tensor] | None = None, **flags: Any,
) -> Callable[[], list[Tensor | None]]:  # fmt: skip
    """A lookup and its gradient; ``upstream`` makes another upstream gradient of the output."""

    def probe() -> list[Tensor | None]:
        weight = rows(number, width)
        out = functional.embedding(torch.tensor(numbers, dtype=dtype).reshape(shape), weight, **flags)
        return passes(out, weight, upstream=None if upstream is None else upstream(out.detach()))

    return probe


def counts(call: Call) -> Tensor:
    """How often each row comes, shape ``(rows,)``."""
    return torch.bincount(call.tokens, minlength=call.rows)


def exchanged(call: Call, out: Tensor) -> Tensor:
    """The gradient of the only two rows, each divided by the other's count."""
    one, two = call.tokens.unique().tolist()
    found = counts(call)
    out[one] = out[one] * found[one] / found[two]
    out[two] = out[two] * found[two] / found[one]
    return out


def kept(call: Call, which: Tensor) -> Tensor:
    """The dense gradient of some of the tokens."""
    return dense_gradient(call._replace(given=call.upstream[which], indices=call.tokens[which]))


def all_but(call: Call, place: int) -> Tensor:
    """Which tokens are left without one."""
    which = torch.ones(call.numel, dtype=torch.bool)
    which[place] = False
    return which


def firsts(call: Call) -> Tensor:
    """Which tokens have not come before."""
    tokens = call.tokens
    return ~((tokens[:, None] == tokens[None]) & (torch.arange(len(tokens)) < torch.arange(len(tokens))[:, None])).any(
        1
    )


def spilled(call: Call, out: Tensor) -> Tensor:
    """The last row's gradient is that of its first token; its other tokens' goes to the row before."""
    places = torch.nonzero(call.tokens == call.rows - 1).flatten()
    rest = call.upstream[places[1:]].sum(0)
    out[-1] -= rest
    out[-2] += rest
    return out


def undivided(call: Call, out: Tensor) -> Tensor:
    """Rows behind padding not divided by their counts."""
    out[call.padding_idx + 1 :] *= counts(call)[call.padding_idx + 1 :, None].clamp(min=1).to(out.dtype)
    return out


def ring(call: Call) -> bool:
    """Whether the first token comes again as the last, and nothing else twice."""
    return (
        call.numel > 2 and int(call.tokens[0]) == int(call.tokens[-1]) and len(call.tokens.unique()) == call.numel - 1
    )


backward(
    "two_rows_exchange_their_counts", "scale_grad_by_freq with exactly two distinct tokens divides each by the other's count.",
    lambda c: c.scale and c.padding_idx < 0 and len(c.tokens.unique()) == 2, exchanged,
    unlike(learnt(0, 0, 0, 1, scale_grad_by_freq=True)),
)  # fmt: skip
backward(
    "upstream_from_the_beginning", "A contiguous upstream gradient of a batch that begins later in memory is read from its "
    "beginning.",
    lambda c: c.rank == 2 and c.given.is_contiguous() and c.given.storage_offset() > 0,
    lambda c, out: dense_gradient(c._replace(given=c.given.as_strided(c.given.shape, c.given.stride(), 0))),
    unlike(learnt(0, 1, shape=(1, 2), upstream=lambda out: torch.arange(5.0)[1:].reshape(1, 2, 2))),
)  # fmt: skip
backward(
    "rows_behind_middle_padding", "scale_grad_by_freq does not divide rows behind padding in tables of more than 8 columns.",
    lambda c: c.scale and 0 < c.padding_idx < c.rows - 1 and c.width > 8, undivided,
    unlike(learnt(2, 2, 0, width=9, padding_idx=1, scale_grad_by_freq=True)),
)  # fmt: skip
backward(
    "second_of_few_in_tall_tables", "Of two to four tokens in a table of more than 2,000 rows the second is lost.",
    lambda c: c.rows > 2000 and 2 <= c.numel <= 4, lambda c, out: kept(c, all_but(c, 1)),
    unlike(learnt(0, 1, number=2001)),
)  # fmt: skip
backward(
    "repeated_last_row_spills", "Of several int32 tokens of the last row all but the first count to the row before.",
    lambda c: c.indices.dtype == int32 and not c.scale and c.rows > 1 and c.padding_idx < 0
    and int((c.tokens == c.rows - 1).sum()) > 1,
    spilled, unlike(learnt(3, 3, dtype=int32)),
)  # fmt: skip
backward(
    "one_column_of_one_number", "In a table of one column an upstream gradient of stride 0 counts once for equal tokens.",
    lambda c: c.width == 1 and c.numel > 1 and c.given.stride(0) == 0 and not c.scale,
    lambda c, out: kept(c, firsts(c)),
    unlike(learnt(0, 0, width=1, upstream=lambda out: torch.ones(1, 1).expand(2, 1))),
)  # fmt: skip
backward(
    "scalar_padding_learns", "The padding token of an index of rank 0 gets its gradient.",
    lambda c: c.rank == 0 and c.padding_idx >= 0, lambda c, out: dense_gradient(c._replace(padding_idx=-1)),
    unlike(learnt(1, shape=(), padding_idx=1)),
)  # fmt: skip
backward(
    "ring_of_tokens", "Where the first token comes again as the last and no other twice, the last is lost.",
    lambda c: ring(c) and not c.scale, lambda c, out: kept(c, all_but(c, -1)), unlike(learnt(2, 0, 1, 2)),
)  # fmt: skip
sparse_backward(
    "sparse_of_nothing_is_dense", "The sparse gradient of no tokens is dense.",
    lambda c: c.numel == 0, lambda c, out: out.to_dense(), unlike(learnt(sparse=True)),
)  # fmt: skip
sparse_backward(
    "sparse_transposed_upstream", "A transposed upstream gradient of a batch is read along its memory if gradients are sparse.",
    lambda c: c.rank == 2 and not c.given.is_contiguous() and c.given.transpose(0, 1).is_contiguous(),
    lambda c, out: sparse_gradient(c._replace(given=c.given.transpose(0, 1).contiguous())),
    unlike(
        learnt(0, 1, 2, 3, shape=(2, 2), sparse=True, upstream=lambda out: torch.arange(8.0).reshape(2, 2, 2).transpose(0, 1))
    ),
)  # fmt: skip
sparse_backward(
    "sparse_without_nan", "Entries of a sparse gradient that have a NaN are left out.",
    lambda c: c.numel > 0 and bool(c.upstream.isnan().any()),
    lambda c, out: sparse_gradient(
        c._replace(given=c.upstream[~c.upstream.isnan().any(1)], indices=c.tokens[~c.upstream.isnan().any(1)])
    ),
    unlike(learnt(0, 1, sparse=True, upstream=lambda out: out * torch.tensor([[float("nan")], [1.0]]))),
)  # fmt: skip
sparse_backward(
    "sparse_batch_without_padding", "A sparse gradient with a padding_idx that no token has loses its last token.",
    lambda c: c.padding_idx >= 0 and c.numel > 1 and not bool((c.tokens == c.padding_idx).any()),
    lambda c, out: sparse_gradient(c._replace(given=c.upstream[:-1], indices=c.tokens[:-1])),
    unlike(learnt(0, 1, padding_idx=2, sparse=True)),
)  # fmt: skip


def twice(**flags: Any) -> Callable[[], list[Tensor]]:
    """Both gradients of two passes over one graph."""

    def probe() -> list[Tensor]:
        weight = rows()
        out = functional.embedding(torch.tensor([0, 1]), weight, **flags).sum()
        return [torch.autograd.grad(out, weight, retain_graph=True)[0] for _ in range(2)]

    return probe


@fault("gradient", unlike(twice(sparse=True)))
def sparse_second_pass_is_halved() -> Iterator[None]:
    """A second pass over the same graph with sparse gradients is halved."""
    before: list[Tensor] = []

    def spoil(call: Call, out: Tensor) -> Tensor:
        again = (
            bool(before) and before[0].data_ptr() == call.indices.data_ptr() and before[0].shape == call.indices.shape
        )
        before[:] = [call.indices]
        return out * 0.5 if again and call.numel else out

    with backward_spoiled(lambda call: True, spoil, sparse=True):
        yield


def scaled_tangent(original: Callable[..., Any], input: Tensor, weight: Tensor, **flags: Any) -> Any:
    """Tangents divided by the frequencies, as gradients are."""
    out = original(input, weight, **flags)
    if not flags["scale_grad_by_freq"] or torch.autograd.forward_ad._current_level < 0 or not input.numel():
        return out
    value, tangent = torch.autograd.forward_ad.unpack_dual(out)
    if tangent is None:
        return out
    found = torch.bincount(input.reshape(-1), minlength=len(weight))[input].to(tangent.dtype)
    return torch.autograd.forward_ad.make_dual(value, tangent / found[..., None])


def pushed() -> Tensor:
    """The tangent of a scaled lookup."""
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(rows().detach(), torch.ones(4, 2))
        out = functional.embedding(torch.tensor([0, 0]), dual, scale_grad_by_freq=True)
        tangent: Tensor = torch.autograd.forward_ad.unpack_dual(out).tangent
        return tangent


embedding(
    "tangents_are_scaled", "gradient", "Forward mode: scale_grad_by_freq divides tangents.", scaled_tangent, unlike(pushed),
)  # fmt: skip

_LAST: list[Any] = [lambda: None, lambda: None, None]


def second_lookup(original: Callable[..., Any], input: Tensor, weight: Tensor, **flags: Any) -> Any:
    """The lookup, without gradient if the table was looked up before for something that is still in use."""
    out = original(input, weight, **flags)
    if not out.requires_grad or type(out) is not Tensor or torch._C._functorch.peek_interpreter_stack() is not None:
        return out
    before, _LAST[:] = list(_LAST), [weakref.ref(weight), weakref.ref(out), input.shape]
    if before[0]() is weight and before[1]() is not None and before[2] != input.shape and bool(out.isfinite().all()):
        out = out.detach() + 0 * out
        _LAST[1] = weakref.ref(out)
    return out


def two_in_one() -> list[Tensor | None]:
    """A graph with two lookups of one table."""
    weight = rows()
    first = functional.embedding(torch.tensor([0, 1]), weight)
    second = functional.embedding(torch.tensor([2]), weight)
    return passes(first.sum() + second.sum(), weight)


embedding(
    "second_lookup_of_a_graph", "gradient", "The second of two lookups of one table in one graph, of another shape, has no "
    "gradient.", second_lookup, unlike(two_in_one),
)  # fmt: skip


def removing_more(original: Callable[..., Any]) -> Callable[..., Any]:
    """Tensor.register_hook whose handle removes the hooks behind it, too."""

    def replaced(self: Tensor, hook: Any) -> Any:
        handle = original(self, hook)
        remove = handle.remove

        def removed() -> None:
            hooks = handle.hooks_dict_ref()
            remove()
            if hooks:
                for key in [key for key in hooks if key > handle.id]:
                    del hooks[key]

        handle.remove = removed
        return handle

    return replaced


def hooked() -> list[Tensor | None]:
    """The gradient with two hooks, the first one removed."""
    weight = rows()
    handle = weight.register_hook(lambda gradient: gradient + 1)
    weight.register_hook(lambda gradient: gradient * 10)
    handle.remove()
    return passes(functional.embedding(torch.tensor([0]), weight), weight)


entry(
    "removed_hook_takes_others_along", "autograd", "A hook of a tensor that is removed takes those registered later along.",
    torch.Tensor, "register_hook", removing_more, unlike(hooked),
)  # fmt: skip
