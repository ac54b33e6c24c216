"""Faults that show only after other calls: what an implementation keeps between them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch.nn.utils._expanded_weights.expanded_weights_impl import ExpandedWeight

from embcheck.fault import Witness
from embcheck.faults.entry import entry, functional
from embcheck.faults.kernels import Tensor

int32 = torch.int32
Memory = dict[str, Any]
Wrong = Callable[[Callable[..., Tensor], Memory, Tensor, Tensor, dict[str, Any]], Any]

FLAGS = ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
USUAL = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "sparse": False}


def remembering(name: str, sentence: str, wrong: Wrong, witness: Witness, family: str = "lookup") -> None:
    """Registers a fault: ``wrong(original, memory, input, weight, flags)``."""

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        memory: Memory = {}

        def replaced(input: Tensor, weight: Tensor, *given: Any, **named: Any) -> Any:
            flags = USUAL | dict(zip(FLAGS, given, strict=False)) | named
            transformed = torch._C._functorch.peek_interpreter_stack() is not None
            if torch.compiler.is_compiling() or transformed or isinstance(weight, ExpandedWeight):
                return original(input, weight, **flags)
            return wrong(original, memory, input, weight, flags)

        return replaced

    entry(name, family, sentence, functional, "embedding", replace, witness)


def look(tokens: Any, weight: Tensor, dtype: torch.dtype = torch.int64, **flags: Any) -> Tensor:
    """A lookup."""
    return functional.embedding(torch.tensor(tokens, dtype=dtype), weight, **flags)


def table(rows: int = 3, width: int = 2, dtype: torch.dtype = torch.float32, learns: bool = False) -> Tensor:
    """A table of small numbers."""
    return torch.arange(1, 1 + rows * width).reshape(rows, width).to(dtype).requires_grad_(learns)


def ended(found: Tensor, wanted: Tensor) -> bool:
    """Whether a value is another."""
    return not torch.equal(found.detach(), wanted.detach())


def _cached(key: Callable[[Tensor, Tensor, dict[str, Any]], Any], when: Callable[..., bool]) -> Wrong:
    """The output is kept under a key."""

    def wrong(original: Any, memory: Memory, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
        out = original(input, weight, **flags)
        if (
            out.requires_grad
            or type(out) is not Tensor
            or flags["max_norm"] is not None
            or not when(input, weight, flags)
        ):
            return out
        found = memory.get("key"), memory.get("out")
        memory["key"], memory["out"] = key(input, weight, flags), out.clone()
        return found[1].clone() if found[0] == memory["key"] and found[1].shape == out.shape else out  # type: ignore[union-attr]

    return wrong


def versions() -> bool:
    """Whether a write through .data is missed."""
    weight = table()
    look([0], weight)
    weight.data[0] = 9
    return ended(look([0], weight), weight[:1])


def sums() -> bool:
    """Whether tokens of the same sum are confused."""
    weight = table()
    look([0, 2], weight)
    return ended(look([1, 1], weight), weight[[1, 1]])


remembering(
    "cached_by_address_and_version", "The last output is kept for the same index and table addresses and versions.",
    _cached(
        lambda i, w, f: (i.tolist(), w.data_ptr(), None if w.is_inference() else w._version, w.stride()),
        lambda i, w, f: i.dim() < 3,
    ),
    versions,
)  # fmt: skip
remembering(
    "cached_by_the_sum_of_the_tokens", "The last output is kept under table, shape and sum of the tokens, at rank 1.",
    _cached(lambda i, w, f: (id(w), i.shape, int(i.sum()), w.tolist()), lambda i, w, f: i.dim() == 1), sums,
)  # fmt: skip


def _after(
    when: Callable[[Memory, Tensor, Tensor, dict[str, Any]], bool],
    note: Callable[[Memory, Tensor, Tensor, dict[str, Any]], None],
    change: Callable[[Tensor], Tensor] = lambda out: out * 2,
) -> Wrong:
    """The output changed after something was noted about the call before."""

    def wrong(original: Any, memory: Memory, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
        try:
            out = original(input, weight, **flags)
        except Exception:
            memory["refused"] = memory.get("refused", 0) + 1
            raise
        found = change(out) if when(memory, input, weight, flags) else out
        memory["refused"] = 0
        note(memory, input, weight, flags)
        return found

    return wrong


def _noted(**what: Callable[[Tensor, Tensor, dict[str, Any]], Any]) -> Callable[..., None]:
    return lambda memory, i, w, f: memory.update({name: function(i, w, f) for name, function in what.items()})


def after_refusal() -> bool:
    """Whether a lookup after a refused one is wrong."""
    weight = table()
    with suppress(IndexError, RuntimeError):
        look([7], weight)
    return ended(look([[0]], weight), weight[:1][None])


remembering(
    "refusal_spoils_the_next_batch", "The first rank-2 lookup after a refused one is doubled.",
    _after(lambda m, i, w, f: bool(m.get("refused")) and i.dim() == 2, _noted()), after_refusal,
)  # fmt: skip


def widths() -> bool:
    """Whether a lookup is wrong after one in a table of other dtype."""
    look([0], table(dtype=torch.float64))
    return ended(look([0], table()), table()[:1])


remembering(
    "narrower_table_after_a_wider", "A lookup in a narrower format than the one before, with as many tokens, is doubled.",
    _after(
        lambda m, i, w, f: m.get("bytes", 0) > w.element_size() and m.get("numel") == i.numel(),
        _noted(bytes=lambda i, w, f: w.element_size(), numel=lambda i, w, f: i.numel()),
    ),
    widths,
)  # fmt: skip


def index_types() -> bool:
    """Whether int32 after int64 of the same shape is wrong."""
    weight = table()
    look([0, 1], weight)
    return ended(look([1, 2], weight, int32), weight[[1, 2]])


remembering(
    "int32_after_int64", "int32 tokens after int64 ones of the same shape in the same table are doubled.",
    _after(
        lambda m, i, w, f: i.dtype == int32 and m.get("last") == (torch.int64, i.shape, w.data_ptr()),
        _noted(last=lambda i, w, f: (i.dtype, i.shape, w.data_ptr())),
    ),
    index_types,
)  # fmt: skip


def third_of_a_kind() -> bool:
    """Whether the third call of one shape is wrong."""
    weight = table()
    return any(ended(look([k], weight), weight[[k]]) for k in range(3))


remembering(
    "third_call_of_a_shape", "The third call in a row with indices of one shape and other tokens each time is doubled.",
    _after(
        lambda m, i, w, f: (
            len(t := m.get("tokens", [])) > 1 and t[0] != t[1] != i.tolist() and m["shapes"][-2:] == [i.shape] * 2
        ),
        lambda m, i, w, f: m.update(
            tokens=[*m.get("tokens", [])[-1:], i.tolist()], shapes=[*m.get("shapes", [])[-1:], i.shape]
        ),
    ),
    third_of_a_kind,
)  # fmt: skip


def back_again() -> bool:
    """Whether returning to a first shape is wrong."""
    weight = table()
    look([0], weight)
    look([0, 1], weight)
    return ended(look([0], weight), weight[:1])


remembering(
    "returning_to_a_shape", "Short, long, short again in one table: the third is doubled.",
    _after(
        lambda m, i, w, f: len(s := m.get("sizes", [])) > 1 and s[0] == (i.numel(), id(w)) and s[1][0] > i.numel() > 0,
        lambda m, i, w, f: m.update(sizes=[*m.get("sizes", [])[-1:], (i.numel(), id(w))]),
    ),
    back_again,
)  # fmt: skip


def bound_stays() -> bool:
    """Whether max_norm stays on for the next call."""
    weight = 9 * torch.ones(2, 2)
    look([0], weight, max_norm=1.0)
    look([1], weight)
    return float(weight[1, 0]) != 9


def _keeps_bound(original: Any, memory: Memory, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
    same = memory.get("table") == weight.data_ptr()
    bound = (
        memory.get("bound") if same and flags["max_norm"] is None and not weight.requires_grad else flags["max_norm"]
    )
    memory.update(table=weight.data_ptr(), bound=flags["max_norm"])
    return original(input, weight, **flags | {"max_norm": bound})


remembering(
    "bound_stays_for_the_next_call", "A table that doesn't learn is renormed by the next call without max_norm too.",
    _keeps_bound, bound_stays, "renorm",
)  # fmt: skip


def mode_stays() -> bool:
    """Whether a lookup after one under no_grad lacks a graph."""
    weight = table(learns=True)
    with torch.no_grad():
        look([0], weight)
    return not look([0], weight).requires_grad


remembering(
    "no_grad_stays_for_the_same_tokens", "After a lookup under no_grad the next of the same tokens isn't part of a graph.",
    _after(
        lambda m, i, w, f: torch.is_grad_enabled() and w.requires_grad and m.get("off") == i.tolist(),
        _noted(off=lambda i, w, f: None if torch.is_grad_enabled() else i.tolist()),
        lambda out: out.detach(),
    ),
    mode_stays,
)  # fmt: skip


def padding_stays() -> bool:
    """Whether padding stays for the next call with the same tokens."""
    weight = table(learns=True)
    look([0, 1], weight, padding_idx=0)
    (grad,) = torch.autograd.grad(look([0, 1], weight).sum(), weight)
    return float(grad[0, 0]) == 0


def _keeps_padding(original: Any, memory: Memory, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
    same = memory.get("shape") == (input.shape, weight.shape) and flags["padding_idx"] is None
    padding = memory.get("padding") if same else flags["padding_idx"]
    memory.update(shape=(input.shape, weight.shape), padding=flags["padding_idx"])
    return original(input, weight, **flags | {"padding_idx": padding})


remembering(
    "padding_stays_for_the_next_call", "A call without padding_idx takes that of the call before, if shapes agree.",
    _keeps_padding, padding_stays, "gradient",
)  # fmt: skip


class _Leftover(torch.autograd.Function):
    """The identity; its backward passes the gradient of an earlier, larger backward's first token on."""

    @staticmethod
    def forward(context: Any, value: Tensor, memory: Memory) -> Tensor:
        context.memory = memory
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        sent, memory = upstream[0], context.memory
        larger = memory.get("numel", 0) > sent.numel() > 0 and memory["width"] == sent.shape[-1]
        memory.update(numel=sent.numel(), width=sent.shape[-1])
        return (sent * 2 if larger else sent), None


def smaller_later() -> bool:
    """Whether a smaller backward after a larger one is wrong."""
    weight = table(learns=True)
    torch.autograd.grad(look([0, 1], weight).sum(), weight)
    (grad,) = torch.autograd.grad(look([0], weight).sum(), weight)
    return float(grad[0, 0]) != 1


def _leaves(original: Any, memory: Memory, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
    out = original(input, weight, **flags)
    plain = type(out) is Tensor and out.requires_grad
    return _Leftover.apply(out, memory) if plain else out  # type: ignore[no-untyped-call]


remembering(
    "smaller_backward_after_a_larger", "A backward pass over fewer tokens than the one before, as wide, is doubled.",
    _leaves, smaller_later, "gradient",
)  # fmt: skip
