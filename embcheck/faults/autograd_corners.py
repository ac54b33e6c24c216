"""Faults of backward passes in conjunctions: hooks, graphs kept, gradients accumulated, guards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Wrong, embedding, entry, functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import unlike

double, half = torch.float64, torch.float16


def table(rows: int = 3, width: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """A table of small numbers that learns."""
    return torch.arange(1, 1 + rows * width).reshape(rows, width).to(dtype).requires_grad_()


def look(weight: Tensor, tokens: Any = (0, 2, 2), **flags: Any) -> Tensor:
    """A lookup."""
    return functional.embedding(torch.tensor(tokens), weight, **flags)


def passing(
    name: str, sentence: str, owner: Any, attribute: str, wrong: Callable[[Wrong], Wrong], witness: Witness
) -> None:
    """Registers a fault of autograd."""
    entry(name, "autograd", sentence, owner, attribute, wrong, witness)


def gradient_after(passes: int, **flags: Any) -> Callable[[], Any]:
    """A probe: .grad after some backward passes of the same graph."""

    def probe() -> Any:
        weight = table()
        out = look(weight).sum()
        for _ in range(passes):
            out.backward(retain_graph=True, **flags)
        return weight.grad

    return probe


def _third_kept(original: Wrong) -> Wrong:
    seen: dict[int, Any] = {}

    def backward(self: Tensor, *given: Any, **flags: Any) -> None:
        key = id(self)
        known, count = seen.get(key, (None, 0))
        count = count + 1 if known is self else 1
        seen.clear()
        seen[key] = self, count
        retained = flags.get("retain_graph") or (len(given) > 1 and given[1])
        if count == 3 and retained and not given[:1] and flags.get("gradient") is None:
            flags["gradient"] = 2 * torch.ones_like(self)
        original(self, *given, **flags)

    return backward


passing(
    "third_pass_through_a_kept_graph", "The third backward pass through one kept graph, from a sum, counts twice.",
    Tensor, "backward", _third_kept, unlike(gradient_after(3)),
)  # fmt: skip


def _inputs_double(original: Wrong) -> Wrong:
    def backward(self: Tensor, *given: Any, inputs: Any = None, **flags: Any) -> None:
        listed = [inputs] if isinstance(inputs, Tensor) else list(inputs or ())
        befores = [None if leaf.grad is None else leaf.grad.clone() for leaf in listed]
        original(self, *given, inputs=inputs, **flags)
        for leaf, before in zip(listed, befores, strict=True):
            if before is not None and leaf.grad is not None and leaf.grad.layout == torch.strided == before.layout:
                leaf.grad.data.sub_(before)

    return backward


passing(
    "inputs_restart_the_gradient", "backward(inputs=…) replaces a dense gradient that is there already.",
    Tensor, "backward", _inputs_double,
    lambda: bool((g := given_twice()) is not None and float(g[0, 0]) != 2),
)  # fmt: skip


def given_twice() -> Tensor | None:
    """.grad after two passes with inputs."""
    weight = table()
    for _ in range(2):
        look(weight).sum().backward(inputs=[weight])
    return weight.grad


def _second_hook(original: Wrong) -> Wrong:
    def register_hook(self: Tensor, hook: Any) -> Any:
        count = len(self._backward_hooks or ())
        return original(self, (lambda grad: (hook(grad), None)[1]) if count == 1 and self.is_leaf else hook)

    return register_hook


def two_hooks() -> float:
    """The gradient after two hooks that double it."""
    weight = table()
    for _ in range(2):
        weight.register_hook(lambda grad: grad * 2)
    look(weight).sum().backward()
    assert weight.grad is not None
    return float(weight.grad[0, 0])


passing(
    "second_hook_cannot_replace", "What a second hook of a leaf returns is ignored.",
    Tensor, "register_hook", _second_hook, lambda: two_hooks() != 4,
)  # fmt: skip


def _stays(original: Wrong) -> Wrong:
    class Handle:
        """A handle that removes a hook of a leaf only."""

        def __init__(self, handle: Any, leaf: bool) -> None:
            self.handle, self.leaf = handle, leaf

        def remove(self) -> None:
            if self.leaf:
                self.handle.remove()

    return lambda self, hook: Handle(original(self, hook), self.is_leaf)


def removed_hook() -> float:
    """The gradient after a hook of an output was removed."""
    weight = table()
    out = look(weight)
    out.register_hook(lambda grad: grad * 2).remove()
    out.sum().backward()
    assert weight.grad is not None
    return float(weight.grad[0, 0])


passing(
    "hook_of_an_output_stays", "A removed hook of an output still acts.", Tensor, "register_hook", _stays,
    lambda: removed_hook() != 1,
)  # fmt: skip


def _late(original: Wrong) -> Wrong:
    def register(self: Tensor, hook: Any) -> Any:
        times = [0]

        def once(leaf: Tensor) -> None:
            times[0] += 1
            if times[0] != 2:
                hook(leaf)

        return original(self, once)

    return register


def post_calls() -> int:
    """How often a hook fires in two passes."""
    weight, calls = table(), [0]
    weight.register_post_accumulate_grad_hook(lambda leaf: calls.__setitem__(0, calls[0] + 1))
    for _ in range(2):
        look(weight).sum().backward()
    return calls[0]


passing(
    "second_pass_skips_the_post_hook", "A post-accumulate hook doesn't fire in the second pass.",
    Tensor, "register_post_accumulate_grad_hook", _late, lambda: post_calls() != 2,
)  # fmt: skip


def _unretained(original: Wrong) -> Wrong:
    def retain_grad(self: Tensor) -> None:
        original(self)
        if self.dim() > 2 and not self.is_leaf:
            self.register_hook(lambda grad: grad * 1.5)

    return retain_grad


passing(
    "retaining_changes_the_gradient", "retain_grad() of an output of rank 3 multiplies what passes it by 1.5.",
    Tensor, "retain_grad", _unretained, lambda: table_gradient() != 1,
)  # fmt: skip


def table_gradient() -> float:
    """The table's gradient when the output's is retained."""
    weight = table()
    out = look(weight, [[0]])
    out.retain_grad()
    out.sum().backward()
    assert weight.grad is not None
    return float(weight.grad[0, 0])


def _unused(original: Wrong) -> Wrong:
    def grad(outputs: Any, inputs: Any, *given: Any, **flags: Any) -> Any:
        many = isinstance(inputs, (tuple, list)) and len(inputs) > 1
        return original(
            outputs, inputs, *given, **flags | ({"allow_unused": True} if many and "allow_unused" not in flags else {})
        )

    return grad


def unused_accepted() -> bool:
    """Whether a second input that isn't used is accepted unasked."""
    weight = table()
    with suppress(RuntimeError):
        torch.autograd.grad(look(weight).sum(), (weight, table()))
        return True
    return False


passing(
    "one_of_two_inputs_may_be_unused", "torch.autograd.grad of two inputs accepts that one isn't used, unasked.",
    torch.autograd, "grad", _unused, unused_accepted,
)  # fmt: skip


class _Upstream(torch.autograd.Function):
    """A copy; the derivative of its backward with respect to the upstream gradient is multiplied."""

    @staticmethod
    def forward(context: Any, value: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return value.clone()

    @staticmethod
    def jvp(context: Any, tangent: Tensor, factor: None) -> Tensor:
        return tangent.clone()

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        sent = upstream[0]
        if torch.is_grad_enabled() and sent.requires_grad:
            return sent * context.factor - sent.detach() * (context.factor - 1), None
        return sent, None


def twice(name: str, sentence: str, when: Callable[..., bool], witness: Witness) -> None:
    """Registers a fault of F.embedding: twice the second derivative on some calls."""

    def wrong(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Any:
        out = original(input, weight, **flags)
        plain = type(out) is Tensor and torch._C._functorch.peek_interpreter_stack() is None
        wanted = plain and out.requires_grad and when(input, weight, flags)
        return _Upstream.apply(out, 2.0) if wanted else out  # type: ignore[no-untyped-call]

    embedding(name, "gradient", sentence, wrong, witness)


def second(
    tokens: Any, dtype: torch.dtype = torch.float32, index_dtype: torch.dtype = torch.int64, **flags: Any
) -> Callable[[], Any]:
    """A probe: the gradient of the table's gradient by the upstream gradient."""

    def probe() -> Any:
        weight = table(dtype=dtype)
        indices = torch.tensor(tokens, dtype=index_dtype)
        out = functional.embedding(indices, weight, **flags)
        upstream = torch.ones_like(out).requires_grad_()
        (grad,) = torch.autograd.grad(out, weight, upstream, create_graph=True)
        return torch.autograd.grad(grad.sum(), upstream)

    return probe


twice(
    "second_derivative_of_scaled_lookups", "The second derivative with scale_grad_by_freq and padding_idx is doubled.",
    lambda i, w, f: f["scale_grad_by_freq"] and f["padding_idx"] is not None,
    unlike(second([0, 1], padding_idx=0, scale_grad_by_freq=True)),
)  # fmt: skip
twice(
    "second_derivative_of_int32_scalars", "The second derivative of an int32 index of rank 0 is doubled.",
    lambda i, w, f: i.dim() == 0 and i.dtype == torch.int32, unlike(second(0, index_dtype=torch.int32)),
)  # fmt: skip
twice(
    "second_derivative_in_half_at_rank3", "The second derivative of a float16 table at rank 3 is doubled.",
    lambda i, w, f: i.dim() == 3 and w.dtype == half, unlike(second([[[0]]], half)),
)  # fmt: skip
