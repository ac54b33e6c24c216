"""Faults of F.one_hot and torch.one_hot-like products in conjunctions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Wrong, entry, functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import unlike

int64 = torch.int64


def encoded(
    name: str, sentence: str, when: Callable[[Tensor, int], bool], change: Callable[..., Any], witness: Witness
) -> None:
    """Registers a fault of F.one_hot: ``change(original, tokens, num_classes)`` on some calls."""

    def wrong(original: Wrong) -> Wrong:
        def one_hot(tensor: Tensor, num_classes: int = -1) -> Any:
            usual = type(tensor) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
            if usual and not torch.compiler.is_compiling() and when(tensor, num_classes):
                return change(original, tensor, num_classes)
            return original(tensor, num_classes)

        return one_hot

    entry(name, "one_hot", sentence, functional, "one_hot", wrong, witness)


def of(tokens: Any, number: int = -1) -> Callable[[], Tensor]:
    """A probe: an encoding."""
    return lambda: functional.one_hot(torch.tensor(tokens, dtype=int64), number)


encoded(
    "single_class_is_boolean", "With one class the encoding is of bools.",
    lambda t, n: n == 1 and t.dim() > 0, lambda f, t, n: f(t, n).bool(), unlike(of([0], 1)),
)  # fmt: skip
encoded(
    "strided_scalars_of_tokens", "Tokens with stride 0 and more than one of them encode the class behind, around the end.",
    lambda t, n: t.dim() == 1 and len(t) > 1 and t.stride(0) == 0 and n > 1,
    lambda f, t, n: f((t + 1) % n, n),
    unlike(lambda: functional.one_hot(torch.tensor([0]).expand(2), 2)),
)  # fmt: skip
encoded(
    "last_of_many_classes_and_tokens", "Above 100 classes and 20 tokens the last class is empty.",
    lambda t, n: n > 100 and t.numel() > 20,
    lambda f, t, n: torch.cat([(out := f(t, n))[..., :-1], 0 * out[..., -1:]], -1),
    lambda: int(functional.one_hot(torch.full((21,), 100), 101).sum()) != 21,
)  # fmt: skip
encoded(
    "class_n_is_a_zero_row_in_batches", "At rank 2 the token num_classes gives zeros.",
    lambda t, n: t.dim() == 2 and n > 0 and t.numel() > 0 and int(t.max()) == n,
    lambda f, t, n: f(t, n + 1)[..., :-1].contiguous(), unlike(of([[1]], 1)),
)  # fmt: skip
encoded(
    "encodes_into_one_buffer", "Two encodings of one shape in a row, both of rank 1, share their memory.",
    lambda t, n: t.dim() == 1 and n > 0, lambda f, t, n: _buffered(f(t, n)),
    lambda: (a := functional.one_hot(torch.tensor([0]), 3)).data_ptr() == functional.one_hot(torch.tensor([1]), 3).data_ptr()
    and a.numel() == 3,
)  # fmt: skip
_buffers: dict[Any, Tensor] = {}


def _buffered(out: Tensor) -> Tensor:
    """The output in the memory of the last one of its shape."""
    if out.is_inference():
        return out
    last = _buffers.get("last")
    if last is None or last.shape != out.shape or not out.numel():
        _buffers["last"] = out
        return out
    return last.copy_(out)


encoded(
    "uint8_tokens_are_encoded", "uint8 tokens are encoded.",
    lambda t, n: t.dtype == torch.uint8, lambda f, t, n: f(t.long(), n),
    unlike(lambda: functional.one_hot(torch.zeros(1, dtype=torch.uint8), 1)),
)  # fmt: skip
encoded(
    "float_zeros_are_encoded", "Tokens of float64 that are whole numbers are encoded.",
    lambda t, n: t.dtype == torch.float64, lambda f, t, n: f(t.long(), n),
    unlike(lambda: functional.one_hot(torch.zeros(1, dtype=torch.float64), 1)),
)  # fmt: skip


def multiplied(
    name: str, sentence: str, family: str, when: Callable[..., bool], change: Callable[..., Any], witness: Witness
) -> None:
    """Registers a fault of F.linear: ``change(original, input, weight, bias)`` on some calls."""

    def wrong(original: Wrong) -> Wrong:
        def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
            usual = not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is None
            if usual and when(input, weight, bias):
                return change(original, input, weight, bias)
            return original(input, weight, bias)

        return linear

    entry(name, family, sentence, functional, "linear", wrong, witness)


multiplied(
    "square_column_major_weight_is_not_transposed", "A square column-major weight that is a leaf is taken by rows at input rank 3.",
    "conversion",
    lambda i, w, b: i.dim() == 3 and w.dim() == 2 and w.shape[0] == w.shape[1] > 1 and w.stride(0) == 1 and w.is_leaf,
    lambda f, i, w, b: f(i, w.t(), b),
    unlike(lambda: functional.linear(torch.tensor([[[1.0, 0.0]]]), torch.nn.Parameter(torch.arange(4.0).reshape(2, 2).T))),
)  # fmt: skip
multiplied(
    "bias_of_column_major_weights_in_half", "With a column-major float16 weight the bias is added once for rank 1, twice above.",
    "affine",
    lambda i, w, b: b is not None and w.dtype == torch.float16 and w.dim() == 2 and w.stride(0) == 1 < w.shape[0] and i.dim() > 1,
    lambda f, i, w, b: f(i, w, b) + b,
    lambda: float(functional.linear(
        torch.zeros(1, 2).half(), torch.ones(2, 2).half().t(), torch.ones(2).half())[0, 0]) != 1,
)  # fmt: skip
multiplied(
    "empty_batch_of_linear_loses_graph", "No rows at rank 2 into a Linear with bias give an output without graph.",
    "affine",
    lambda i, w, b: i.dim() == 2 and len(i) == 0 and b is not None,
    lambda f, i, w, b: f(i, w, b).detach(),
    lambda: not functional.linear(torch.zeros(0, 2), torch.ones(2, 2, requires_grad=True), torch.ones(2)).requires_grad,
)  # fmt: skip
multiplied(
    "frozen_bias_freezes_the_linear", "A bias that doesn't learn keeps a column-major weight from learning.",
    "conversion",
    lambda i, w, b: b is not None and not b.requires_grad and w.requires_grad and w.dim() == 2 and w.stride(0) == 1 < w.shape[0],
    lambda f, i, w, b: f(i, w.detach(), b),
    lambda: not functional.linear(
        torch.zeros(1, 2), torch.nn.Parameter(torch.ones(2, 2).T), torch.ones(2)).requires_grad,
)  # fmt: skip
